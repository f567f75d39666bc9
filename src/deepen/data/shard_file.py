"""One shard on disk: llm.c's format, which public FineWeb shards come in.

256 little-endian int32 (20240520, 1, number of tokens, zeros), then the tokens as little-endian uint16. A
shard may be a stranger's: nothing is allocated by what its header says, only by what the file holds.
"""

import hashlib
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepen.durable import write_whole

MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024
TokenArray = NDArray[np.uint16]

_RELATIVES = {20240801: "Llama 3 tokens in 32 bits", 20240328: "llm.c's first format", 20240522: "llm.c's evals"}
_PIECE = 1 << 24


class DataError(ValueError):
    """Data that cannot be trained on; the message names the file and what to do."""


def write_shard(path: Path, tokens: TokenArray) -> str:
    """Write a shard, whole or not at all; returns its sha256."""
    header = np.zeros(256, dtype="<i4")
    header[:3] = MAGIC, VERSION, len(tokens)
    content = header.tobytes() + tokens.astype("<u2").tobytes()
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def read_shard(path: Path) -> TokenArray:
    """The tokens of a shard, memory-mapped, after its header and size were checked."""
    if not path.is_file():
        where = "is a link that leads nowhere" if path.is_symlink() else "is not a file"
        raise DataError(f"shard {path} {where}: copy it again")
    try:
        size = path.stat().st_size
        if size <= HEADER_BYTES:
            raise DataError(f"shard {path} is empty ({size} bytes): prepare or copy it again")
        with path.open("rb") as file:
            magic, version, count = struct.unpack("<3i", file.read(12))
        if magic != MAGIC or version != VERSION:
            known = f": {_RELATIVES[magic]}" if magic in _RELATIVES else ""
            raise DataError(
                f"shard {path} is not an llm.c GPT-2 shard (header {magic}, {version}{known}; "
                f"expected {MAGIC}, {VERSION}): prepare the data in that format"
            )
        if size != HEADER_BYTES + 2 * count:
            raise DataError(
                f"shard {path} is truncated or damaged: its header promises {count:,} tokens, "
                f"its size holds {(size - HEADER_BYTES) / 2:,g}: copy it again"
            )
        tokens: TokenArray = np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES)
    except OSError as error:
        raise DataError(f"shard {path} cannot be read: {error.strerror or error}: copy it again") from None
    return tokens


def examine_shard(path: Path) -> tuple[str, int]:
    """The sha256 of a shard's file and its highest token, in one reading of all of it."""
    digest, highest = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            digest.update(file.read(HEADER_BYTES))
            while piece := file.read(_PIECE):
                digest.update(piece)
                highest = max(
                    highest, int(np.frombuffer(piece, dtype="<u2", count=len(piece) // 2).max(initial=0))
                )
    except OSError as error:
        raise DataError(f"shard {path} cannot be read: {error.strerror or error}: copy it again") from None
    return digest.hexdigest(), highest
