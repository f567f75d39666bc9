"""Which state of a folder is the newest good one. Needs no torch: tensors are checked, not loaded.

A state that fails verification is never used. One that the system cannot read now is not damaged: the OSError ends
the command, and nothing is removed. There are two levels of verification:

- quick, always: sizes, the sha256 of JSON files and of the headers of tensor files match the manifest, and the
  tensors of a header fill the file exactly. It reads a few kilobytes of a state of any size, and does not find a
  flipped bit inside a tensor.
- full, with `verify`: the sha256 of every file.

`state_files.py` and `shard_files.py` explain the files, `state_folder.py` the folders beside a state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.errors import RunError
from deepen.train.checkpoint.index import INDEX, read_index
from deepen.train.checkpoint.tensor_file import header_size
from deepen.train.progress import Progress

WEIGHTS, MOMENTS = "weights.safetensors", "moments.safetensors"
STATE = "state.json"
MANIFEST = "manifest.json"

SUFFIXES = ("", ".new", ".old")
"""Where a state can be after an interrupted save, in the order of the search."""


class StateError(RunError):
    """A state cannot be used. The message names the file and the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StateHeader:
    """What a state contains beside its tensors; `logs` has length and sha256 of each log."""

    depth: int
    layers: tuple[int, ...]
    seed: int
    progress: Progress
    recent_losses: tuple[float, ...]
    logs: Mapping[str, Any]


def find_good_state(folder: Path, *, verify: bool = False) -> tuple[Path, list[str]]:
    """The newest state that passes verification, and what is wrong with the newer ones.

    Args:
        folder: the folder of the state.
        verify: hash every byte.

    Raises:
        StateError: there is no good state.
    """
    problems: list[str] = []
    for suffix in SUFFIXES:
        candidate = beside(folder, suffix)
        if is_state(candidate):
            try:
                check_files(candidate, verify=verify)
                return candidate, problems
            except StateError as error:
                problems.append(str(error))
    raise StateError("; ".join(problems) if problems else f"there is no state in {folder}")


def has_state(folder: Path) -> bool:
    """Whether there is a state, good or damaged."""
    return any(is_state(beside(folder, suffix)) for suffix in SUFFIXES)


def is_state(folder: Path) -> bool:
    """Whether a folder is a state, and not a save that was interrupted before its manifest."""
    return folder.is_dir() and not (folder.suffix == ".new" and not (folder / MANIFEST).exists())


def beside(folder: Path, suffix: str) -> Path:
    """The folder of a state with a suffix appended to its name."""
    return folder.with_name(folder.name + suffix)


def check_files(folder: Path, *, verify: bool = False) -> None:
    """Raise a StateError, with file and reason, unless the files of `folder` match its manifest.

    Args:
        folder: the folder of the state.
        verify: hash every byte, not only JSON files and headers.
    """
    manifest = read_manifest(folder)
    names = [STATE, INDEX] if INDEX in manifest else [STATE]
    for name in [*names, *tensor_files(folder, manifest)]:
        entry = manifest.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int):
            raise StateError(f"{folder / MANIFEST} is damaged: it has no size of {name}")
        path = folder / name
        try:
            _check_file(path, entry, verify=verify)
        except durable.DamagedError as error:
            raise StateError(str(error)) from None
        except FileNotFoundError:
            raise StateError(f"{path} is missing") from None
    read_header(folder)


def tensor_files(folder: Path, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the files with a state's tensors; raises a StateError if tensors.json is damaged."""
    if INDEX not in manifest:
        return WEIGHTS, MOMENTS
    try:
        return read_index(folder / INDEX).files
    except (durable.DamagedError, FileNotFoundError) as error:
        raise StateError(str(error)) from None


def _check_file(path: Path, entry: Mapping[str, Any], *, verify: bool) -> None:
    """Raise a DamagedError unless a file matches its entry in the manifest."""
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise durable.DamagedError(f"{path} is damaged: it has {size:,} bytes, {entry['bytes']:,} in its manifest")
    has_tensors = path.suffix == ".safetensors"
    if has_tensors:
        header = durable.sha256(path, header_size(path))
        if header != entry.get("header_sha256", header):  # deepen 0.1 wrote none
            raise durable.DamagedError(f"{path} is damaged: the sha256 of its header differs from its manifest's")
    if (verify or not has_tensors) and durable.sha256(path) != entry.get("sha256"):
        raise durable.DamagedError(f"{path} is damaged: its sha256 differs from its manifest's")


def manifest_entry(path: Path) -> dict[str, Any]:
    """The entry of a file that was just written: bytes, sha256 and, of a tensor file, the sha256 of its header."""
    entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": durable.sha256(path)}
    if path.suffix == ".safetensors":
        try:
            entry["header_sha256"] = durable.sha256(path, header_size(path))
        except durable.DamagedError as error:  # a write that was cut short without an error from the system
            raise OSError(str(error)) from None
    return entry


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the state in exactly this folder: bytes and sha256 of each file."""
    return _read_json(folder / MANIFEST)


def read_header(folder: Path) -> StateHeader:
    """What the state in exactly this folder contains beside its tensors."""
    content = _read_json(folder / STATE)
    try:
        progress = Progress(**content["progress"])
        layers = tuple(content.get("layers", ()))
        numbers = (content["depth"], *layers, content["seed"], progress.tokens, progress.step, progress.flops)
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError("a number is not whole")
        recent = tuple(float(loss) for loss in content.get("recent_losses", ()))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{folder / STATE} is damaged: {error}") from None
    logs = content.get("logs")
    return StateHeader(
        depth=content["depth"],
        layers=layers,
        seed=content["seed"],
        progress=progress,
        recent_losses=recent,
        logs=logs if isinstance(logs, dict) else {},
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = durable.read_json(path)
    except durable.DamagedError as error:
        raise StateError(str(error)) from None
    if value is None:
        raise StateError(f"{path} is missing")
    return value
