"""The header of a safetensors file, checked before the library is given the file.

A header that lies, by damage or design, is found without allocating what it asks for: no more is read than the
file has, and every tensor must lie within the file and fill its span.
"""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from deepen.durable import DamagedError

_MAX_HEADER_BYTES = 100_000_000
"""What the safetensors library allows; a forged length must not make us allocate more."""
_BYTES_OF = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def header_size(path: Path) -> int:
    """Bytes of a safetensors file before its tensors; a DamagedError unless these fill the rest exactly."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
            raise DamagedError(f"{path} is damaged: its header is said to have {length:,} bytes of {size:,}")
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        spans = sorted(_span(entry, size) for entry in header.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: its header cannot be read ({error})") from None
    end = 0
    for begin, stop in spans:
        if begin != end:
            raise DamagedError(f"{path} is damaged: its tensors do not follow one another")
        end = stop
    if 8 + length + end != size:
        raise DamagedError(
            f"{path} is damaged: its header tells of {8 + length + end:,} bytes, there are {size:,}"
        )
    return 8 + length


def _span(entry: Mapping[str, Any], size: int) -> tuple[int, int]:
    """Where a tensor lies; a ValueError where its shape and dtype do not fill that."""
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    if len(shape) > 8 or not all(
        isinstance(number, int) and 0 <= number <= size for number in (begin, end, *shape)
    ):
        raise ValueError("a shape or an offset is out of bounds")
    if prod(shape) * _BYTES_OF[entry["dtype"]] != end - begin:
        raise ValueError("a tensor's shape does not fill its bytes")
    return begin, end
