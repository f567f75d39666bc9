"""Tensors in a state's files, read when they are needed: whole, or only some rows, byte by byte.

A whole state has each tensor in one file. Of a sharded one (`shard_files.py`), each file has some of the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepen.durable import DamagedError
from deepen.model.lazy import LazyTensor, LazyTensors
from deepen.train.checkpoint.index import Index
from deepen.train.checkpoint.state_check import StateError
from deepen.train.checkpoint.tensor_file import StoredTensor, read_header
from deepen.train.state import Share

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}
"""Types of a state's tensors, by the names that safetensors has for them."""

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
"""The names of types, as safetensors calls them."""


class StateFiles:
    """The files that hold the rows of tensors; a header is read when a row of its file is first asked for.

    Args:
        folder: where they are.
        names: their names, in the order of the rows.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder, self.names = folder, names
        self._headers: dict[int, dict[str, StoredTensor]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process reads the headers that it needs."""
        return StateFiles, (self.folder, self.names)

    def find(self, name: str, number: int) -> StoredTensor:
        """The part of a tensor in a file.

        Raises:
            DamagedError: the file has none.
        """
        if number not in self._headers:
            self._headers[number] = read_header(self.folder / self.names[number])
        part = self._headers[number].get(name)
        if part is None:
            raise DamagedError(f"{self.folder / self.names[number]} is damaged: it has no tensor {name}")
        return part


@dataclass(frozen=True, slots=True)
class StoredRows(LazyTensor):
    """A tensor in the files of a state."""

    files: StateFiles
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def load(self, rows: range | None = None) -> Tensor:
        """Read the tensor, or rows of it, from the files that have them.

        Raises:
            StateError: a file does not have its part.
        """
        height = self.shape[0] if self.shape else 1  # a number without rows is in the first file
        asked = range(height) if rows is None else rows
        tensor = torch.empty((len(asked), *self.shape[1:]) if self.shape else (), dtype=self.dtype)
        if not tensor.numel():
            return tensor
        content = tensor.view(-1).view(torch.uint8).numpy().data
        row_bytes = tensor.nbytes // len(asked)
        share = Share(0, len(self.files.names))
        for number in share.find_holders(asked, height):
            held = replace(share, index=number).rows(height)
            begin, end = max(asked.start, held.start), min(asked.stop, held.stop)
            try:
                part = self._find_part(number, len(held))
                span = content[(begin - asked.start) * row_bytes : (end - asked.start) * row_bytes]
                _read_into(span, part.path, part.begin + (begin - held.start) * row_bytes)
            except (DamagedError, FileNotFoundError) as error:
                raise StateError(f"{self.files.folder} is not a complete state ({error})") from None
        return tensor

    def _find_part(self, number: int, rows: int) -> StoredTensor:
        part = self.files.find(self.name, number)
        shape = (rows, *self.shape[1:]) if self.shape else ()
        if part.shape != shape or DTYPES.get(part.dtype) != self.dtype:
            raise DamagedError(f"{part.path} has {self.name} in another shape or type")
        return part


def _read_into(content: memoryview, path: Path, begin: int) -> None:
    """Fill memory with the bytes of a file from `begin` on."""
    with path.open("rb", buffering=0) as file:
        file.seek(begin)
        while content:
            if not (count := file.readinto(content)):
                raise DamagedError(f"{path} became shorter while it was read")
            content = content[count:]


def open_tensors(path: Path) -> LazyTensors:
    """The tensors of one file, which has all their rows.

    Raises:
        DamagedError: its header is damaged, or has a type that no state has.
    """
    files = StateFiles(path.parent, (path.name,))
    return _list_rows(files, {name: (part.dtype, part.shape) for name, part in read_header(path).items()})


def open_shards(folder: Path, index: Index) -> LazyTensors:
    """The tensors of which the files of an index have the rows.

    Raises:
        DamagedError: one has a type that no state has.
    """
    return _list_rows(StateFiles(folder, index.files), index.tensors)


def _list_rows(files: StateFiles, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> LazyTensors:
    for name, (dtype, _) in tensors.items():
        if dtype not in DTYPES:
            raise DamagedError(f"{files.folder / files.names[0]} has {name} in type {dtype}")
    return LazyTensors(
        {name: StoredRows(files, name, shape, DTYPES[dtype]) for name, (dtype, shape) in tensors.items()}
    )
