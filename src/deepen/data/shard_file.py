"""Shards on disk, in the format of llm.c, which public FineWeb shards use too.

    256 little-endian int32    20240520, 1, number of tokens, then zeros
    the tokens                 little-endian uint16

A shard may come from anywhere, so memory is allocated by the size of the file, never by what the header claims.

Each read opens the file and closes it again, so any number of shards can be used with any limit of open files. On
a local disk it takes a few microseconds, about as long as from mapped memory; and where a disk fails, a read
raises the system's error, while mapped memory would end the process.
"""

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepen.data.errors import DataError, unreadable
from deepen.durable import write_whole
from deepen.errors import RunError

MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024
TokenArray = NDArray[np.uint16]

_OTHER_FORMATS = {
    20240801: "Llama 3 tokens in 32 bits",
    20240328: "llm.c's first format",
    20240522: "llm.c's evals",
}
_READ_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A shard whose content is known: `shard[first:last]` reads tokens from its file.

    Attributes:
        path: the file.
        length: number of tokens.
        sha256: the hash of the file.
        modified_ns: when the file was last changed, as the system records it.
    """

    path: Path
    length: int
    sha256: str
    modified_ns: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, part: slice) -> TokenArray:
        start, stop, _ = part.indices(self.length)
        handle = os.open(self.path, os.O_RDONLY)
        try:
            content = os.pread(handle, 2 * (stop - start), HEADER_BYTES + 2 * start)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        finally:
            os.close(handle)
        if len(content) != 2 * (stop - start):
            raise self._changed()
        return np.frombuffer(content, dtype="<u2")

    def check_unchanged(self) -> None:
        """Raise a RunError if the file has another content than when it was examined.

        A file with the same size and time has the same content; any other is hashed.
        """
        status = self.path.stat()
        same_size = status.st_size == HEADER_BYTES + 2 * self.length
        if same_size and status.st_mtime_ns == self.modified_ns:
            return
        if not same_size or examine_shard(self.path)[0].sha256 != self.sha256:
            raise self._changed()

    def _changed(self) -> RunError:
        return RunError(f"shard {self.path} has changed since the command began", remedy="restore it")


def write_shard(path: Path, tokens: TokenArray) -> str:
    """Write a shard, completely or not at all; returns the sha256 of the file."""
    header = np.zeros(256, dtype="<i4")
    header[:3] = MAGIC, VERSION, len(tokens)
    content = header.tobytes() + tokens.astype("<u2").tobytes()
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def check_header(path: Path) -> int:
    """The number of tokens of a shard, once its header and size are checked.

    Raises:
        DataError: it is missing, cannot be read, has another format, or does not have the length that its header
            claims.
    """
    try:
        if not path.is_file():
            problem = "is a link that leads nowhere" if path.is_symlink() else "is not a file"
            raise DataError(f"shard {path} {problem}", value=path, remedy="copy it again")
        size = path.stat().st_size
        if size <= HEADER_BYTES:
            raise DataError(f"shard {path} is empty ({size} bytes)", value=path, remedy="prepare or copy it again")
        with path.open("rb") as file:
            magic, version, count = struct.unpack("<3i", file.read(12))
    except OSError as error:
        raise unreadable(f"shard {path}", path, error) from None
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
    return int(count)


def examine_shard(path: Path, on_bytes: Callable[[int], None] = lambda count: None) -> tuple[Shard, int]:
    """A shard and its highest token, from reading the file once.

    Args:
        path: the file.
        on_bytes: called with the number of bytes of each block after it was read.

    Raises:
        DataError: as `check_header`.
    """
    length = check_header(path)
    digest, highest = hashlib.sha256(), 0
    try:
        modified_ns = path.stat().st_mtime_ns
        with path.open("rb") as file:
            digest.update(file.read(HEADER_BYTES))
            while block := file.read(_READ_BYTES):
                digest.update(block)
                tokens = np.frombuffer(block, dtype="<u2", count=len(block) // 2)
                highest = max(highest, int(tokens.max(initial=0)))
                on_bytes(len(block))
    except OSError as error:
        raise unreadable(f"shard {path}", path, error) from None
    return Shard(path=path, length=length, sha256=digest.hexdigest(), modified_ns=modified_ns), highest
