"""Read and check the header of a safetensors file before anything reads its tensors.

A wrong header, damaged or forged, is found before memory is allocated for its sizes: at most the file itself is
read, and every tensor must be inside the file and fill its span.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from deepen.durable import DamagedError

_MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library; a forged length must not cause a larger allocation."""
_MAX_DIMENSIONS = 8
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of a number, by the names that safetensors has for types."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        path: the file.
        dtype: its type, as safetensors calls it: BF16.
        shape: its shape.
        begin: where its bytes begin in the file.
        bytes: how many there are.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    bytes: int


def header_size(path: Path) -> int:
    """Bytes before the tensors of a safetensors file; raises a DamagedError unless the tensors fill the rest."""
    return _read_header(path)[0]


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name; raises a DamagedError unless they fill the file."""
    return _read_header(path)[1]


def _read_header(path: Path) -> tuple[int, dict[str, StoredTensor]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
            raise DamagedError(f"{path} is damaged: its header has {length:,} bytes, the file {size:,}")
        text = file.read(length)
    start = 8 + length
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {name: _parse_entry(entry, path, start, size) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: its header cannot be read ({error})") from None
    end = start
    for begin, length in sorted((tensor.begin, tensor.bytes) for tensor in tensors.values()):
        if begin != end:
            raise DamagedError(f"{path} is damaged: its tensors do not follow one another")
        end += length
    if end != size:
        raise DamagedError(f"{path} is damaged: its header describes {end:,} bytes, the file has {size:,}")
    return start, tensors


def _parse_entry(entry: Mapping[str, Any], path: Path, start: int, size: int) -> StoredTensor:
    """A tensor of a header; raises a ValueError unless its shape and dtype fill its span."""
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if len(shape) > _MAX_DIMENSIONS or not all(
        isinstance(number, int) and 0 <= number <= size for number in (begin, end, *shape)
    ):
        raise ValueError("a shape or an offset is out of bounds")
    if prod(shape) * BITS[entry["dtype"]] != 8 * (end - begin):
        raise ValueError("a tensor's shape does not fill its bytes")
    return StoredTensor(path=path, dtype=entry["dtype"], shape=shape, begin=start + begin, bytes=end - begin)


def encode_number(value: float, dtype: str) -> bytes:
    """The bytes of a number of a type as safetensors calls it: 0 in any type, others in F64, F32, F16 and BF16."""
    if value == 0:
        return bytes(BITS[dtype] // 8)
    if dtype == "BF16":
        return struct.pack("<f", value)[2:]
    return struct.pack({"F64": "<d", "F32": "<f", "F16": "<e"}[dtype], value)
