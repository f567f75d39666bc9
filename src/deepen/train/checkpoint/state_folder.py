"""States on disk: safetensors and JSON, a manifest with sizes and sha256 written last, renamed into place.

`state/` is the newest; while it is replaced, the one before it stands beside as `state.old/`. A state that does
not verify is never used. There are two levels:

- cheap, always: every file has the manifest's size, JSON files and the headers of the tensor files their
  sha256, and the tensors of a header fill its file exactly. It reads kilobytes of any state. It does not see a
  bit that flipped inside a tensor.
- full, with `verify`: the sha256 of every byte.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from deepen import durable
from deepen.train.checkpoint.tensor_file import header_size
from deepen.train.state import Progress, TrainState

TENSOR_FILES = ("weights.safetensors", "moments.safetensors")
FILES = (*TENSOR_FILES, "state.json")
MANIFEST = "manifest.json"
SUFFIXES = ("", ".new", ".old")
"""Where a state may be after a save that was cut off, in the order in which one is looked for.

A whole `.new` beside one without suffix is newer, but its save had not ended: it is dropped, and its steps are
trained again.
"""


class StateError(ValueError):
    """A state that cannot be used; the message names the file and the reason."""


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)


def save_state(
    state: TrainState,
    folder: Path,
    logs: Mapping[str, Any] | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write a state to `folder`, replacing the one that is there only once the new one is whole.

    Args:
        logs: kept in state.json, for whoever must know how far the logs were (`logs_of`).
        check: called right before the new one replaces the other; raises where that must not be.
    """
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    _finish_what_was_cut_off(folder)
    durable.remove_folder(new)
    new.mkdir(parents=True)
    moments = {f"{name}:{key}": t for name, kept in state.moments.items() for key, t in kept.items()}
    about = {
        "depth": state.depth,
        "seed": state.seed,
        "progress": asdict(state.progress),
        "recent_losses": state.recent_losses,
        "logs": logs or {},
    }
    state_json = durable.sealed(about)
    durable.save_tensors(new / "weights.safetensors", state.weights)
    durable.save_tensors(new / "moments.safetensors", moments)
    durable.write(new / "state.json", state_json)
    durable.check_size(new / "state.json", len(state_json))
    manifest: dict[str, dict[str, Any]] = {}
    for name in FILES:
        path = new / name
        manifest[name] = {"bytes": path.stat().st_size, "sha256": durable.sha256(path)}
        if name in TENSOR_FILES:
            manifest[name]["header_sha256"] = _header_sha256_of_new(path)
        durable.fsync(path)
    durable.write_json(new / MANIFEST, manifest)
    check()
    if folder.exists():
        durable.remove_folder(old)
        durable.rename(folder, old)
    durable.rename(new, folder)
    durable.fsync(folder.parent)
    durable.remove_folder(old)


def load_state(folder: Path, *, verify: bool = False, warn: Callable[[str], None] = _warn) -> TrainState:
    """Read the newest good state: `folder`, or what a save that was cut off left beside it.

    Args:
        verify: hash every byte first.
        warn: told, file and reason, of a damaged state that is passed over for the one before it.

    Raises:
        StateError: there is no good state; the message says what is wrong with each.
    """
    found, problems = newest_good(folder, verify=verify)
    for problem in problems:
        warn(f"{problem}; using {found} in its place")
    return read_state(found)


def newest_good(folder: Path, *, verify: bool = False) -> tuple[Path, list[str]]:
    """The newest state that verifies, and what is wrong with those that are newer.

    Raises:
        StateError: there is none.
    """
    problems: list[str] = []
    for suffix in SUFFIXES:
        candidate = folder.with_name(folder.name + suffix)
        if _is_state(candidate):
            try:
                check_state(candidate, verify=verify)
                return candidate, problems
            except StateError as error:
                problems.append(str(error))
    raise StateError("; ".join(problems) or f"there is no state in {folder}")


def check_state(folder: Path, *, verify: bool = False) -> None:
    """Raise a StateError, with file and reason, unless the files of `folder` are what its manifest says."""
    manifest = _json_of(folder / MANIFEST)
    for name in FILES:
        path, entry = folder / name, manifest.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int):
            raise StateError(f"{folder / MANIFEST} is damaged: it does not tell the size of {name}")
        try:
            size = path.stat().st_size
            if size != entry["bytes"]:
                raise StateError(f"{path} is damaged: it has {size:,} bytes, the manifest says {entry['bytes']:,}")
            if name in TENSOR_FILES:
                header = durable.sha256(path, header_size(path))
                if header != entry.get("header_sha256", header):  # deepen 0.1 wrote none
                    raise StateError(f"{path} is damaged: its header's sha256 is not the manifest's")
            if (verify or name not in TENSOR_FILES) and durable.sha256(path) != entry.get("sha256"):
                raise StateError(f"{path} is damaged: its sha256 is not the manifest's")
        except durable.DamagedError as error:
            raise StateError(str(error)) from None
        except OSError as error:
            raise StateError(f"{path} cannot be read ({error.strerror})") from None
    _about(folder)


def _header_sha256_of_new(path: Path) -> str:
    """That of a file just written; a short write that nobody reported is found here, before the manifest."""
    try:
        return durable.sha256(path, header_size(path))
    except durable.DamagedError as error:
        raise OSError(str(error)) from None


def settle(folder: Path, *, verify: bool = False) -> list[str]:
    """Leave the newest good state at `folder` and nothing beside it; returns what was wrong.

    Where there is no good state at all, none is left, so that it is trained again.
    """
    problems: list[str] = []
    if has_state(folder):
        try:
            found, problems = newest_good(folder, verify=verify)
        except StateError as error:
            drop_state(folder)
            return [str(error)]
        if found != folder:
            durable.remove_folder(folder)
            durable.rename(found, folder)
            durable.fsync(folder.parent)
    drop_state(folder, SUFFIXES[1:])
    return problems


def logs_of(folder: Path) -> dict[str, Any]:
    """What `save_state` was given as `logs`, from exactly this folder."""
    logs = _json_of(folder / "state.json").get("logs")
    return logs if isinstance(logs, dict) else {}


def progress_of(folder: Path) -> Progress:
    """How far the state in exactly this folder is."""
    return _about(folder).progress


def has_state(folder: Path) -> bool:
    """Whether there is a state at all, good or damaged."""
    return any(_is_state(folder.with_name(folder.name + suffix)) for suffix in SUFFIXES)


def _is_state(folder: Path) -> bool:
    """Whether a folder is a state, and not what is left of the beginning of one."""
    return folder.is_dir() and not (folder.suffix == ".new" and not (folder / MANIFEST).exists())


def drop_state(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Remove a state and what saves left beside it."""
    for suffix in reversed(suffixes):
        durable.remove_folder(folder.with_name(folder.name + suffix))


def _finish_what_was_cut_off(folder: Path) -> None:
    """Where a save ended between its two renames, do the second, so that the newest is not lost to the next."""
    new = folder.with_name(folder.name + ".new")
    if not folder.exists() and (new / MANIFEST).exists():
        try:
            check_state(new)
        except StateError:
            return
        durable.rename(new, folder)
        durable.fsync(folder.parent)


def read_state(folder: Path) -> TrainState:
    """Read the state in exactly this folder, after `check_state` has found it good."""
    try:
        about = _about(folder)
        moments: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in load_file(folder / "moments.safetensors").items():
            name, _, what = key.rpartition(":")
            moments.setdefault(name, {})[what] = tensor
        weights = load_file(folder / "weights.safetensors")
    except (OSError, SafetensorError) as error:
        raise StateError(f"{folder} is not a whole state ({error})") from None
    return replace(about, weights=weights, moments=moments)


def _about(folder: Path) -> TrainState:
    """What state.json has of a state: all but the tensors."""
    about = _json_of(folder / "state.json")
    try:
        progress = Progress(**about["progress"])
        numbers = (about["depth"], about["seed"], progress.tokens, progress.step, progress.flops)
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError("a number is not whole")
        recent = tuple(float(loss) for loss in about.get("recent_losses", ()))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{folder / 'state.json'} is damaged: {error}") from None
    return TrainState(
        weights={}, depth=about["depth"], seed=about["seed"], progress=progress, recent_losses=recent
    )


def _json_of(path: Path) -> dict[str, Any]:
    try:
        value = durable.read_json(path)
    except durable.DamagedError as error:
        raise StateError(str(error)) from None
    if value is None:
        raise StateError(f"{path} is missing")
    return value
