"""A state in shards: each process of a sharded model writes its rows of every tensor to a file of its own.

    state/                              of a run on 4 processes
        shard-00001-of-00004.safetensors   the rows of rank 0: weights by parameter name, moments by
        shard-00002-of-00004.safetensors   "<parameter>:<name in the optimizer>"; those of rank 1, and so on
        shard-00003-of-00004.safetensors
        shard-00004-of-00004.safetensors
        tensors.json     {"shards": 4, "tensors": {"head.weight": {"dtype": "F32", "shape": [512, 64]}, ...}}
        state.json       as in a whole state
        manifest.json    as in a whole state, of all of these files

The rule is FSDP2's own (torch.chunk): of a tensor with r rows on n processes, file k + 1 has rows k·c to
(k + 1)·c, c = ⌈r / n⌉, so that nothing else need be recorded. A process without rows has no entry; numbers without
rows (step counts) are in the first file. Stacked, the parts are the tensor of a whole state, bit for bit.

Saving. Between two steps every process copies its rows to the CPU. In the background rank 0 makes state.new and
sends its path; each process writes its file, makes it durable, hashes it and reports size and hashes to rank 0,
which writes the manifest last and renames as always (`state_folder.py`). A kill before that leaves a folder
without a manifest, which is not a state.

Loading. `state_files.open_files` reads tensors.json, or the headers of a whole state, and gives lazy tensors.
Rank 0 grows them, which is a mapping of names, and sends them to the others; each reads the bytes of its own rows,
whatever the number of processes that wrote them, and holds no more than these and the tensor that it reads.

torch.distributed.checkpoint (2.13) is not used. It plans a save by gathering objects from all processes on rank 0,
which in the background needs a process group and a thread of its own; its Hugging Face writer renames and hashes
nothing; its reader opens every file in every process to find out what is where; and it fills tensors of the stored
names, but growth gives a tensor another name, or computes it. What would remain of it is `write_shard`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepen import durable
from deepen.errors import RunError
from deepen.model.lazy import LazyTensor, unread
from deepen.train.checkpoint.index import INDEX, Index, shard_name, write_index
from deepen.train.checkpoint.state_check import manifest_entry
from deepen.train.checkpoint.stored import DTYPE_NAMES
from deepen.train.state import OtherShares, Share, TrainState


def write_shards(state: TrainState, others: OtherShares, folder: Path) -> dict[str, Any]:
    """On rank 0: write tensors.json and this process's rows, while the other processes write theirs.

    Args:
        state: a state of `HeldRows`.
        others: the other processes.
        folder: an empty folder, which all of them see.

    Returns:
        The entries of all files in the manifest.
    """
    share = find_share(state)
    others.begin(folder)
    own = write_shard(state, folder)
    tensors = {name: (DTYPE_NAMES[held.dtype], held.shape) for name, held in _list_tensors(state).items()}
    write_index(folder / INDEX, Index(shards=share.count, tensors=tensors))
    entries: dict[int, Mapping[str, Any]] = {share.index: own, **others.wait()}
    manifest: dict[str, Any] = {INDEX: manifest_entry(folder / INDEX)}
    for index in range(share.count):
        name = shard_name(index, share.count)
        if not (folder / name).exists():
            raise RunError(
                f"{folder / name} was written by another process, and is not here",
                remedy="let all machines see the folder under the same path",
            )
        durable.check_size(folder / name, entries[index]["bytes"])
        manifest[name] = entries[index]
    return manifest


def write_shard(state: TrainState, folder: Path) -> dict[str, Any]:
    """Write the rows that this process holds, and make them durable; returns the file's entry in the manifest.

    Args:
        state: a state of `HeldRows`.
        folder: the folder of the state, which exists.
    """
    share = find_share(state)
    path = folder / shard_name(share.index, share.count)
    durable.save_tensors(path, {
        name: held.rows
        for name, held in _list_tensors(state).items()
        if (len(held.rows) if held.shape else share.index == 0)
    })  # fmt: skip
    entry = manifest_entry(path)
    durable.fsync(path)
    return entry


def find_share(state: TrainState) -> Share:
    """The share of a state of `HeldRows`."""
    return next(iter(_list_tensors(state).values())).share


def _list_tensors(state: TrainState) -> dict[str, "HeldRows"]:
    """Weights and moments by their names in a file."""
    return {**unread(state.weights), **name_moments(state)}


def name_moments(state: TrainState) -> dict[str, Any]:
    """The moments of a state by their names in a file, lazy or not."""
    return {
        f"{parameter}:{name}": moment
        for parameter, moments in state.moments.items()
        for name, moment in unread(moments).items()
    }


@dataclass(frozen=True, slots=True)
class HeldRows(LazyTensor):
    """A tensor of which this process holds some rows, on the CPU.

    Attributes:
        rows: the rows; for a number without rows, the number.
        share: which rows they are.
        shape: of the whole tensor.
        dtype: of the numbers.
    """

    rows: Tensor
    share: Share
    shape: tuple[int, ...]
    dtype: torch.dtype

    def load(self, rows: range | None = None) -> Tensor:
        """The rows, if it is these that are asked for; raises a ValueError for any others."""
        if self.shape and rows != self.share.rows(self.shape[0]):
            raise ValueError("this process does not hold these rows")
        return self.rows
