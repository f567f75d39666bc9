"""Shards on disk, in the format of llm.c, which public FineWeb shards use too.

    256 little-endian int32    20240520, 1, number of tokens, then zeros
    the tokens                 little-endian uint16

A shard may come from anywhere, so memory is allocated by the size of the file, never by what the header claims.
"""

import hashlib
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepen.data.errors import DataError
from deepen.durable import write_whole

MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024
TokenArray = NDArray[np.uint16]

_OTHER_FORMATS = {
    20240801: "Llama 3 tokens in 32 bits",
    20240328: "llm.c's first format",
    20240522: "llm.c's evals",
}
_READ_BYTES = 1 << 24


def write_shard(path: Path, tokens: TokenArray) -> str:
    """Write a shard, completely or not at all; returns the sha256 of the file."""
    header = np.zeros(256, dtype="<i4")
    header[:3] = MAGIC, VERSION, len(tokens)
    content = header.tobytes() + tokens.astype("<u2").tobytes()
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def read_shard(path: Path) -> TokenArray:
    """The tokens of a shard, memory-mapped, once its header and size are checked.

    Raises:
        DataError: it is missing, has another format, or does not have the length that its header claims.
    """
    if not path.is_file():
        problem = "is a link that leads nowhere" if path.is_symlink() else "is not a file"
        raise DataError(f"shard {path} {problem}", value=path, remedy="copy it again")
    try:
        size = path.stat().st_size
        if size <= HEADER_BYTES:
            raise DataError(f"shard {path} is empty ({size} bytes)", value=path, remedy="prepare or copy it again")
        with path.open("rb") as file:
            magic, version, count = struct.unpack("<3i", file.read(12))
        if magic != MAGIC or version != VERSION:
            known = f": {_OTHER_FORMATS[magic]}" if magic in _OTHER_FORMATS else ""
            raise DataError(
                f"shard {path} is not an llm.c GPT-2 shard (header {magic}, {version}{known}; "
                f"expected {MAGIC}, {VERSION})",
                value=path,
                remedy="prepare the data in that format",
            )
        if size != HEADER_BYTES + 2 * count:
            raise DataError(
                f"shard {path} is truncated or damaged: its header claims {count:,} tokens, "
                f"its size fits {(size - HEADER_BYTES) / 2:,g}",
                value=path,
                remedy="copy it again",
            )
        tokens: TokenArray = np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None
    return tokens


def examine_shard(path: Path) -> tuple[str, int]:
    """The sha256 of a shard's file and its highest token, from reading the file once."""
    digest, highest = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            digest.update(file.read(HEADER_BYTES))
            while block := file.read(_READ_BYTES):
                digest.update(block)
                tokens = np.frombuffer(block, dtype="<u2", count=len(block) // 2)
                highest = max(highest, int(tokens.max(initial=0)))
    except OSError as error:
        raise _unreadable(path, error) from None
    return digest.hexdigest(), highest


def _unreadable(path: Path, error: OSError) -> DataError:
    problem = f"shard {path} cannot be read: {error.strerror or error}"
    return DataError(problem, value=path, remedy="copy it again")
