"""Check the header of a safetensors file before the library reads the file.

A wrong header, damaged or forged, is found before memory is allocated for its sizes: at most the file itself is
read, and every tensor must be inside the file and fill its span.
"""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from deepen.durable import DamagedError

_MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library; a forged length must not cause a larger allocation."""
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def header_size(path: Path) -> int:
    """Bytes before the tensors of a safetensors file; raises a DamagedError unless the tensors fill the rest."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
            raise DamagedError(f"{path} is damaged: its header has {length:,} bytes, the file {size:,}")
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
            f"{path} is damaged: its header describes {8 + length + end:,} bytes, the file has {size:,}"
        )
    return 8 + length


def _span(entry: Mapping[str, Any], size: int) -> tuple[int, int]:
    """The begin and end of a tensor; raises a ValueError unless its shape and dtype fill that span."""
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    if len(shape) > 8 or not all(
        isinstance(number, int) and 0 <= number <= size for number in (begin, end, *shape)
    ):
        raise ValueError("a shape or an offset is out of bounds")
    if prod(shape) * _BYTES[entry["dtype"]] != end - begin:
        raise ValueError("a tensor's shape does not fill its bytes")
    return begin, end
