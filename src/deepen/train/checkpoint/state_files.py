"""The files of one training state: safetensors and JSON, with a manifest of sizes and sha256 written last.

    weights.safetensors    by parameter name
    moments.safetensors    optimizer state, by "<parameter>:<name in the optimizer>"
    state.json             depth, seed, progress, recent losses, digests of the logs
    manifest.json          of each file above: bytes, sha256, and of tensor files the sha256 of the header

A state that fails verification is never used. One that the system cannot read now is not damaged: the OSError ends
the command, and nothing is removed. There are two levels of verification:

- quick, always: sizes, the sha256 of JSON files and of the headers of tensor files match the manifest, and the
  tensors of a header fill the file exactly. It reads a few kilobytes of a state of any size, and does not find a
  flipped bit inside a tensor.
- full, with `verify`: the sha256 of every file.

`state_folder.py` replaces one state by the next so that a complete one always exists.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from deepen import durable
from deepen.errors import RunError
from deepen.train.checkpoint.tensor_file import header_size
from deepen.train.state import Progress, TrainState

TENSOR_FILES = ("weights.safetensors", "moments.safetensors")
FILES = (*TENSOR_FILES, "state.json")
MANIFEST = "manifest.json"


class StateError(RunError):
    """A state cannot be used. The message names the file and the reason."""


def write_files(state: TrainState, folder: Path, logs: Mapping[str, Any]) -> None:
    """Write a state into an empty folder and make it durable, the manifest last.

    Args:
        state: what to write.
        folder: an empty folder.
        logs: length and sha256 of each log, which state.json stores and `read_log_digests` returns.
    """
    moments = {
        f"{parameter}:{name}": tensor for parameter, kept in state.moments.items() for name, tensor in kept.items()
    }
    state_json = durable.sealed({
        "depth": state.depth,
        "seed": state.seed,
        "progress": asdict(state.progress),
        "recent_losses": state.recent_losses,
        "logs": logs,
    })  # fmt: skip
    durable.save_tensors(folder / "weights.safetensors", state.weights)
    durable.save_tensors(folder / "moments.safetensors", moments)
    durable.write(folder / "state.json", state_json)
    durable.check_size(folder / "state.json", len(state_json))
    manifest = {}
    for name in FILES:
        manifest[name] = _manifest_entry(folder / name)
        durable.fsync(folder / name)
    durable.write_json(folder / MANIFEST, manifest)


def _manifest_entry(path: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": durable.sha256(path)}
    if path.name in TENSOR_FILES:
        try:
            entry["header_sha256"] = durable.sha256(path, header_size(path))
        except durable.DamagedError as error:  # a write that was cut short without an error from the system
            raise OSError(str(error)) from None
    return entry


def check_files(folder: Path, *, verify: bool = False) -> None:
    """Raise a StateError, with file and reason, unless the files of `folder` match its manifest.

    Args:
        folder: the folder of the state.
        verify: hash every byte, not only JSON files and headers.
    """
    manifest = _read_json(folder / MANIFEST)
    for name in FILES:
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
    _read_state_json(folder)


def _check_file(path: Path, entry: Mapping[str, Any], *, verify: bool) -> None:
    """Raise a DamagedError unless a file matches its entry in the manifest."""
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise durable.DamagedError(f"{path} is damaged: it has {size:,} bytes, {entry['bytes']:,} in its manifest")
    has_tensors = path.name in TENSOR_FILES
    if has_tensors:
        header = durable.sha256(path, header_size(path))
        if header != entry.get("header_sha256", header):  # deepen 0.1 wrote none
            raise durable.DamagedError(f"{path} is damaged: the sha256 of its header differs from its manifest's")
    if (verify or not has_tensors) and durable.sha256(path) != entry.get("sha256"):
        raise durable.DamagedError(f"{path} is damaged: its sha256 differs from its manifest's")


def read_files(folder: Path) -> TrainState:
    """Read the state in exactly this folder; call `check_files` first."""
    try:
        without_tensors = _read_state_json(folder)
        moments: dict[str, dict[str, Any]] = {}
        for key, tensor in _load_tensors(folder / "moments.safetensors").items():
            parameter, _, name = key.rpartition(":")
            moments.setdefault(parameter, {})[name] = tensor
        weights = _load_tensors(folder / "weights.safetensors")
    except (FileNotFoundError, SafetensorError) as error:
        raise StateError(f"{folder} is not a complete state ({error})") from None
    return replace(without_tensors, weights=weights, moments=moments)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    path.open("rb").close()  # raises the system's own error; the library says "No such file" for any
    try:
        return load_file(path) if _is_utf8(path) else load(path.read_bytes())
    except OSError as error:
        raise durable.system_error(error, path) from None


def _is_utf8(path: Path) -> bool:
    """Whether the library can read a file by its path; it writes to any path."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_progress(folder: Path) -> Progress:
    """The progress of the state in exactly this folder."""
    return _read_state_json(folder).progress


def read_log_digests(folder: Path) -> dict[str, Any]:
    """The `logs` that were saved with the state in exactly this folder."""
    logs = _read_json(folder / "state.json").get("logs")
    return logs if isinstance(logs, dict) else {}


def _read_state_json(folder: Path) -> TrainState:
    """The state without its tensors."""
    content = _read_json(folder / "state.json")
    try:
        progress = Progress(**content["progress"])
        numbers = (content["depth"], content["seed"], progress.tokens, progress.step, progress.flops)
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError("a number is not whole")
        recent = tuple(float(loss) for loss in content.get("recent_losses", ()))
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{folder / 'state.json'} is damaged: {error}") from None
    return TrainState(
        weights={}, depth=content["depth"], seed=content["seed"], progress=progress, recent_losses=recent
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = durable.read_json(path)
    except durable.DamagedError as error:
        raise StateError(str(error)) from None
    if value is None:
        raise StateError(f"{path} is missing")
    return value
