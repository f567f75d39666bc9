"""Write safetensors files of any size with little memory. Needs no torch.

All sizes are known before the first byte is written, so a file is its header and then the bytes of one tensor
after another, which are copied from where they are in pieces. They are not interpreted: any type is copied.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deepen import durable
from deepen.interop.hugging_face.weight_files import INDEX, WEIGHTS
from deepen.train.checkpoint.tensor_file import BITS, StoredTensor

SHARD_BYTES = 5 * 10**9
"""The largest shard that transformers writes, unless a single tensor is larger."""
PIECE_BYTES = 1 << 22
_ALIGNMENT = 8

OnBytes = Callable[[int], None]
"""Receives how many bytes were written since the last call."""


class Content(Protocol):
    """The bytes of a tensor."""

    def pieces(self, size: int) -> Iterator[bytes | memoryview]:
        """The bytes in pieces, `size` in all."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a tensor in another file."""

    tensor: StoredTensor

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Read the bytes in pieces, into one buffer."""
        buffer = memoryview(bytearray(min(size, PIECE_BYTES)))
        with self.tensor.path.open("rb", buffering=0) as file:
            file.seek(self.tensor.begin)
            while size:
                read = file.readinto(buffer[: min(size, PIECE_BYTES)])
                if not read:
                    raise OSError(f"{self.tensor.path} became shorter while it was read")
                yield buffer[:read]
                size -= read


@dataclass(frozen=True, slots=True)
class Repeated:
    """One number again and again; `number` is its bytes."""

    number: bytes

    def pieces(self, size: int) -> Iterator[bytes]:
        """The number's bytes, many at once."""
        piece = self.number * (PIECE_BYTES // len(self.number))
        for begin in range(0, size, len(piece)):
            yield piece[: size - begin]


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
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in ordered:
            for piece in tensor.content.pieces(tensor.bytes):
                file.write(piece)
                on_bytes(len(piece))
    durable.check_size(path, 8 + len(text) + end)
