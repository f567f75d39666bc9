"""The files of one training state: safetensors and JSON, with a manifest of sizes and sha256 written last.

    weights.safetensors    by parameter name
    moments.safetensors    optimizer state, by "<parameter>:<name in the optimizer>"
    state.json             depth, layers if they share blocks, seed, progress, recent losses, digests of the logs
    manifest.json          of each file above: bytes, sha256, and of tensor files the sha256 of the header

`state_check.py` verifies them, `state_folder.py` replaces one state by the next so that a complete one always
exists.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from deepen import durable
from deepen.train.checkpoint.state_check import (
    FILES,
    MANIFEST,
    MOMENTS,
    TENSOR_FILES,
    WEIGHTS,
    StateError,
    read_header,
)
from deepen.train.checkpoint.tensor_file import header_size
from deepen.train.state import TrainState


def write_files(state: TrainState, folder: Path, logs: Mapping[str, Any]) -> None:
    """Write a state into an empty folder and make it durable, the manifest last.

    Args:
        state: what to write.
        folder: an empty folder.
        logs: length and sha256 of each log, which state.json stores and `read_header` returns.
    """
    moments = {
        f"{parameter}:{name}": tensor for parameter, kept in state.moments.items() for name, tensor in kept.items()
    }
    state_json = durable.sealed({
        "depth": state.depth,
        **({"layers": state.layers} if state.layers else {}),
        "seed": state.seed,
        "progress": asdict(state.progress),
        "recent_losses": state.recent_losses,
        "logs": logs,
    })  # fmt: skip
    durable.save_tensors(folder / WEIGHTS, state.weights)
    durable.save_tensors(folder / MOMENTS, moments)
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


def read_files(folder: Path) -> TrainState:
    """Read the state in exactly this folder; call `check_files` first."""
    try:
        header = read_header(folder)
        moments: dict[str, dict[str, Any]] = {}
        for key, tensor in _load_tensors(folder / MOMENTS).items():
            parameter, _, name = key.rpartition(":")
            moments.setdefault(parameter, {})[name] = tensor
        weights = _load_tensors(folder / WEIGHTS)
    except (FileNotFoundError, SafetensorError) as error:
        raise StateError(f"{folder} is not a complete state ({error})") from None
    return TrainState(
        weights=weights,
        depth=header.depth,
        seed=header.seed,
        moments=moments,
        progress=header.progress,
        recent_losses=header.recent_losses,
        layers=header.layers,
    )


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
