"""The files of one training state: safetensors and JSON, with a manifest of sizes and sha256 written last.

    weights.safetensors    by parameter name
    moments.safetensors    optimizer state, by "<parameter>:<name in the optimizer>"
    state.json             depth, layers if they share blocks, seed, progress, recent losses, digests of the logs
    manifest.json          of each file above: bytes, sha256, and of tensor files the sha256 of the header

A state of many processes that each hold a share of it has other tensor files: see `shard_files.py`. Either can be
read by any number of processes. `state_check.py` verifies the files, `state_folder.py` replaces one state by the
next so that a complete one always exists.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.model.lazy import LazyTensor, LazyTensors
from deepen.train.checkpoint.index import INDEX, read_index
from deepen.train.checkpoint.shard_files import name_moments, write_shards
from deepen.train.checkpoint.state_check import (
    MANIFEST,
    MOMENTS,
    STATE,
    WEIGHTS,
    StateError,
    manifest_entry,
    read_header,
)
from deepen.train.checkpoint.stored import open_shards, open_tensors
from deepen.train.checkpoint.stream import write_tensors
from deepen.train.state import TrainState


def write_files(state: TrainState, folder: Path, logs: Mapping[str, Any]) -> None:
    """Write a state into an empty folder and make it durable, the manifest last.

    Args:
        state: what to write. If it is a share of one, the other processes write theirs; lazy tensors are read and
            written one at a time.
        folder: an empty folder.
        logs: length and sha256 of each log, which state.json stores and `read_header` returns.
    """
    state_json = durable.sealed({
        "depth": state.depth,
        **({"layers": state.layers} if state.layers else {}),
        "seed": state.seed,
        "progress": asdict(state.progress),
        "recent_losses": state.recent_losses,
        "logs": logs,
    })  # fmt: skip
    manifest = write_shards(state, state.others, folder) if state.others else _write_whole(state, folder)
    durable.write(folder / STATE, state_json)
    durable.check_size(folder / STATE, len(state_json))
    manifest[STATE] = manifest_entry(folder / STATE)
    durable.fsync(folder / STATE)
    durable.write_json(folder / MANIFEST, manifest)


def _write_whole(state: TrainState, folder: Path) -> dict[str, Any]:
    """Write weights and moments; returns the files' entries in the manifest."""
    moments = name_moments(state)
    save = write_tensors if state.is_lazy else durable.save_tensors
    save(folder / WEIGHTS, state.weights)
    save(folder / MOMENTS, LazyTensors(moments) if state.is_lazy else moments)
    manifest = {}
    for name in (WEIGHTS, MOMENTS):
        manifest[name] = manifest_entry(folder / name)
        durable.fsync(folder / name)
    return manifest


def open_files(folder: Path) -> TrainState:
    """The state in exactly this folder with lazy tensors; call `check_files` first.

    Raises:
        StateError: a file is missing, or damaged in its header.
    """
    header = read_header(folder)
    try:
        if (folder / INDEX).exists():
            named = open_shards(folder, read_index(folder / INDEX)).lazy
            weights = {name: tensor for name, tensor in named.items() if ":" not in name}
            stored = {name: tensor for name, tensor in named.items() if ":" in name}
        else:
            weights, stored = open_tensors(folder / WEIGHTS).lazy, open_tensors(folder / MOMENTS).lazy
    except (FileNotFoundError, durable.DamagedError) as error:
        raise StateError(f"{folder} is not a complete state ({error})") from None
    moments: dict[str, dict[str, LazyTensor]] = {}
    for key, tensor in stored.items():
        parameter, _, name = key.rpartition(":")
        moments.setdefault(parameter, {})[name] = tensor
    return TrainState(
        weights=LazyTensors(weights),
        depth=header.depth,
        seed=header.seed,
        moments={parameter: LazyTensors(kept) for parameter, kept in moments.items()},
        progress=header.progress,
        recent_losses=header.recent_losses,
        layers=header.layers,
    )
