"""Replace a training state on disk by the next one so that a complete state always exists.

A save writes the new state to `state.new`, then renames `state` to `state.old` and `state.new` to `state`:

    before                  state
    while it writes         state  state.new
    between two renames            state.new  state.old
    after                   state

A kill can interrupt it at any of these points. `find_good_state` looks in the order `state`, `state.new`,
`state.old`. A complete `state.new` beside a `state` is newer, but its save was interrupted: it is removed, and its
steps are trained again. `state_files.py` writes the files of a state, `state_check.py` checks them.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.train.checkpoint.state_check import (
    MANIFEST,
    SUFFIXES,
    StateError,
    beside,
    check_files,
    find_good_state,
    has_state,
)
from deepen.train.checkpoint.state_files import open_files, write_files
from deepen.train.state import TrainState

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
    new, old = beside(folder, ".new"), beside(folder, ".old")
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
    """Read the newest good state into memory; as `open_state`."""
    return open_state(folder, verify=verify).load()


def open_state(folder: Path, *, verify: bool = False) -> TrainState:
    """The newest good state, with lazy tensors; logs a warning for each damaged one that is newer.

    Args:
        folder: the folder of the state.
        verify: hash every byte first.

    Raises:
        StateError: there is no good state; the message says what is wrong with each.
    """
    found, problems = find_good_state(folder, verify=verify)
    for problem in problems:
        _log.warning("%s; using %s instead", problem, found)
    return open_files(found)


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


def remove_state(folder: Path) -> None:
    """Remove a state and what interrupted saves left beside it."""
    _remove(folder, SUFFIXES)


def _remove(folder: Path, suffixes: Sequence[str]) -> None:
    for suffix in reversed(suffixes):  # the oldest first, so that a kill in between leaves the newest
        durable.remove_folder(beside(folder, suffix))


def _finish_rename(folder: Path) -> None:
    """Do the second rename if a save was interrupted before it, so that the next save keeps the newest state."""
    new = beside(folder, ".new")
    if not folder.exists() and (new / MANIFEST).exists():
        try:
            check_files(new)
        except StateError:
            return
        durable.rename(new, folder)
        durable.fsync(folder.parent)
