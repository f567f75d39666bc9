"""Replace a training state on disk by the next one so that a complete state always exists.

A save writes the new state to `state.new`, then renames `state` to `state.old` and `state.new` to `state`:

    before                  state
    while it writes         state  state.new
    between two renames            state.new  state.old
    after                   state

A kill can interrupt it at any of these points. `find_good_state` looks in the order `state`, `state.new`,
`state.old`. A complete `state.new` beside a `state` is newer, but its save was interrupted: it is removed, and its
steps are trained again. `state_files.py` writes and checks the files of a state.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.train.checkpoint.state_files import MANIFEST, StateError, check_files, read_files, write_files
from deepen.train.state import TrainState

SUFFIXES = ("", ".new", ".old")
"""Where a state can be after an interrupted save, in the order of the search."""

_log = logging.getLogger(__name__)


def save_state(
    state: TrainState,
    folder: Path,
    logs: Mapping[str, Any] | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write a state to `folder`, replacing the previous one only when the new one is complete.

    Args:
        state: what to write.
        folder: where to write it; the folders beside it have `.new` and `.old` appended to its name.
        logs: length and sha256 of each log.
        check: called right before the new state replaces the other; raises if it must not.
    """
    new, old = _beside(folder, ".new"), _beside(folder, ".old")
    _finish_rename(folder)
    durable.remove_folder(new)
    new.mkdir(parents=True)
    write_files(state, new, {} if logs is None else logs)
    check()
    if folder.exists():
        durable.remove_folder(old)
        durable.rename(folder, old)
    durable.rename(new, folder)
    durable.fsync(folder.parent)
    durable.remove_folder(old)


def load_state(folder: Path, *, verify: bool = False) -> TrainState:
    """Read the newest good state, and log a warning for each damaged one that is newer.

    Args:
        folder: the folder of the state.
        verify: hash every byte first.

    Raises:
        StateError: there is no good state; the message says what is wrong with each.
    """
    found, problems = find_good_state(folder, verify=verify)
    for problem in problems:
        _log.warning("%s; using %s instead", problem, found)
    return read_files(found)


def find_good_state(folder: Path, *, verify: bool = False) -> tuple[Path, list[str]]:
    """The newest state that passes verification, and what is wrong with the newer ones.

    Raises:
        StateError: there is no good state.
    """
    problems: list[str] = []
    for suffix in SUFFIXES:
        candidate = _beside(folder, suffix)
        if _is_state(candidate):
            try:
                check_files(candidate, verify=verify)
                return candidate, problems
            except StateError as error:
                problems.append(str(error))
    raise StateError("; ".join(problems) if problems else f"there is no state in {folder}")


def recover(folder: Path, *, verify: bool = False) -> list[str]:
    """Leave the newest good state at `folder` and nothing beside it; returns what was wrong with the newer ones.

    If no state is good, all are removed and the steps are trained again.
    """
    problems: list[str] = []
    if has_state(folder):
        try:
            found, problems = find_good_state(folder, verify=verify)
        except StateError as error:
            remove_state(folder)
            return [str(error)]
        if found != folder:
            durable.remove_folder(folder)
            durable.rename(found, folder)
            durable.fsync(folder.parent)
    _remove(folder, SUFFIXES[1:])
    return problems


def has_state(folder: Path) -> bool:
    """Whether there is a state, good or damaged."""
    return any(_is_state(_beside(folder, suffix)) for suffix in SUFFIXES)


def remove_state(folder: Path) -> None:
    """Remove a state and what interrupted saves left beside it."""
    _remove(folder, SUFFIXES)


def _remove(folder: Path, suffixes: Sequence[str]) -> None:
    for suffix in reversed(suffixes):  # the oldest first, so that a kill in between leaves the newest
        durable.remove_folder(_beside(folder, suffix))


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def _is_state(folder: Path) -> bool:
    """Whether a folder is a state, and not a save that was interrupted before its manifest."""
    return folder.is_dir() and not (folder.suffix == ".new" and not (folder / MANIFEST).exists())


def _finish_rename(folder: Path) -> None:
    """Do the second rename if a save was interrupted before it, so that the next save keeps the newest state."""
    new = _beside(folder, ".new")
    if not folder.exists() and (new / MANIFEST).exists():
        try:
            check_files(new)
        except StateError:
            return
        durable.rename(new, folder)
        durable.fsync(folder.parent)
