"""Write safetensors files of any size with little memory. Needs no torch.

All sizes are known before the first byte is written, so a file is its header and then the bytes of one tensor
after another, which are copied from where they are in pieces. They are not interpreted: any type is copied.
"""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from deepen import durable
from deepen.interop.hugging_face.weight_files import INDEX, WEIGHTS
from deepen.train.checkpoint.tensor_file import BITS, StoredTensor

SHARD_BYTES = 5 * 10**9
"""The largest shard that transformers writes, unless a single tensor is larger."""
PIECE_BYTES = 1 << 22
_ALIGNMENT = 8
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""Errors of a file system that cannot copy in the kernel."""

OnBytes = Callable[[int], None]
"""Receives how many bytes were written since the last call."""


class Content(Protocol):
    """The bytes of a tensor."""

    def write_to(self, file: FileIO, size: int, on_bytes: OnBytes) -> None:
        """Write the bytes, `size` in all, in pieces."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a tensor in another file."""

    tensor: StoredTensor

    def write_to(self, file: FileIO, size: int, on_bytes: OnBytes) -> None:
        """Copy the bytes, in the kernel where it can."""
        with self.tensor.path.open("rb", buffering=0) as source:
            position, end = self.tensor.begin, self.tensor.begin + size
            while position < end:
                copied = _copy(source, file, position, min(PIECE_BYTES, end - position))
                if not copied:
                    raise OSError(f"{self.tensor.path} became shorter while it was read")
                on_bytes(copied)
                position += copied


@dataclass(frozen=True, slots=True)
class Repeated:
    """One number again and again; `number` is its bytes."""

    number: bytes

    def write_to(self, file: FileIO, size: int, on_bytes: OnBytes) -> None:
        """Write the number's bytes, many at once."""
        piece = self.number * (PIECE_BYTES // len(self.number))
        for begin in range(0, size, len(piece)):
            write_all(file, piece[: size - begin])
            on_bytes(min(len(piece), size - begin))


def write_all(file: FileIO, piece: bytes | memoryview) -> None:
    """Write all bytes to an unbuffered file, which may take a part of them at a time."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _copy(source: FileIO, target: FileIO, position: int, count: int) -> int:
    """Copy up to `count` bytes to the end of a file; returns how many."""
    if sys.platform == "linux":
        try:
            return os.sendfile(target.fileno(), source.fileno(), position, count)
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
    source.seek(position)
    piece = source.read(count)
    write_all(target, piece)
    return len(piece)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewTensor:
    """A tensor to write: name, type as safetensors calls it, shape, number of bytes, and the bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    content: Content


def write_shards(
    tensors: Sequence[NewTensor],
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    on_bytes: OnBytes = lambda n: None,
) -> None:
    """Write tensors as `model.safetensors`, or as several files and their index where that would be too large.

    Args:
        tensors: in the order in which they are written.
        folder: an empty folder.
        shard_bytes: the largest file, unless a single tensor is larger.
        on_bytes: receives the number of bytes written since its last call.
    """
    shards = list(_split(tensors, shard_bytes))
    names = [WEIGHTS]
    if len(shards) > 1:
        names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        _write_file(folder / name, shard, on_bytes)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(tensor.bytes for tensor in tensors)},
            "weight_map": {
                tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard
            },
        }
        durable.write(folder / INDEX, json.dumps(index, indent=2).encode())


def _split(tensors: Iterable[NewTensor], shard_bytes: int) -> Iterator[list[NewTensor]]:
    """Cut a sequence of tensors where the next one would make a file too large."""
    shard: list[NewTensor] = []
    size = 0
    for tensor in tensors:
        if shard and size + tensor.bytes > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += tensor.bytes
    yield shard


def _write_file(path: Path, tensors: Sequence[NewTensor], on_bytes: OnBytes) -> None:
    """Write one file. Tensors with larger numbers come first, so that each is aligned in memory."""
    ordered = sorted(tensors, key=lambda tensor: BITS[tensor.dtype], reverse=True)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in ordered:
        span = [end, end + tensor.bytes]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": span}
        end += tensor.bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb", buffering=0) as file:
        write_all(file, len(text).to_bytes(8, "little") + text)
        for tensor in ordered:
            tensor.content.write_to(file, tensor.bytes, on_bytes)
    durable.check_size(path, 8 + len(text) + end)
