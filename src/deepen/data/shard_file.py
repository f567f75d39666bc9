"""Token shards on disk, read and written.

Each read opens the file and closes it again, so any number of shards can be used with any limit of open files. On
a local disk it takes a few microseconds, about as long as from mapped memory; and where a disk fails, a read
raises the system's error, while mapped memory would end the process. Memory is allocated by the size of the file,
never by what the header claims.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepen.data.errors import DataError, unreadable
from deepen.data.shard_formats import TokenLayout, make_header, read_layout
from deepen.durable import write_whole
from deepen.errors import RunError

TokenArray = NDArray[np.unsignedinteger]
"""uint16, or uint32 where a vocabulary has more than 65,536 tokens."""

_READ_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenFile:
    """A file of tokens: `file[first:last]` reads some.

    Attributes:
        path: the file.
        layout: where its tokens are.
    """

    path: Path
    layout: TokenLayout

    def __len__(self) -> int:
        return self.layout.length

    def __getitem__(self, part: slice) -> TokenArray:
        start, stop, _ = part.indices(len(self))
        size = self.layout.token_bytes
        handle = os.open(self.path, os.O_RDONLY)
        try:
            content = os.pread(handle, size * (stop - start), self.layout.offset + size * start)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        finally:
            os.close(handle)
        if len(content) != size * (stop - start):
            raise self._changed()
        return np.frombuffer(content, dtype=self.layout.numpy_dtype)

    def _changed(self) -> RunError:
        return RunError(f"shard {self.path} has changed since the command began", remedy="restore it")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard(TokenFile):
    """A file of tokens whose content is known.

    Attributes:
        sha256: the hash of the file.
        highest: its highest token.
        modified_ns: when the file was last changed, as the system records it.
    """

    sha256: str
    highest: int
    modified_ns: int

    @property
    def identity(self) -> str:
        """Identifies the tokens; without a header, the same file can be read as two types."""
        return self.sha256 if self.layout.format != "raw" else f"{self.layout.dtype}:{self.sha256}"

    def check_unchanged(self) -> None:
        """Raise a RunError if the file has another content than when it was examined.

        A file with the same size and time has the same content; any other is hashed.
        """
        status = self.path.stat()
        same_size = status.st_size == self.layout.file_bytes
        if same_size and status.st_mtime_ns == self.modified_ns:
            return
        if not same_size or examine_shard(self.path, self.layout.dtype).sha256 != self.sha256:
            raise self._changed()


def write_shard(path: Path, tokens: TokenArray) -> str:
    """Write a shard with llm.c's header, completely or not at all; returns the sha256 of the file.

    Args:
        path: the file.
        tokens: uint16 or uint32; the header of the latter is the one of llm.c's Llama 3 shards.
    """
    content = make_header(tokens.dtype.name, len(tokens)) + tokens.astype(tokens.dtype.newbyteorder("<")).tobytes()
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def examine_shard(
    path: Path, dtype: str | None = None, on_bytes: Callable[[int], None] = lambda count: None
) -> Shard:
    """A shard with what is known of its content, from reading the file once.

    Args:
        path: the file.
        dtype: the type of the tokens if the file has no header: `uint16` or `uint32`.
        on_bytes: called with the number of bytes of each block after it was read.

    Raises:
        DataError: as `read_layout`; or the tokens look like those of another type.
    """
    layout = read_layout(path, dtype)
    digest, highest = hashlib.sha256(), 0
    try:
        modified_ns = path.stat().st_mtime_ns
        with path.open("rb") as file:
            digest.update(file.read(layout.offset))
            while block := file.read(_READ_BYTES):
                digest.update(block)
                tokens = np.frombuffer(block, layout.numpy_dtype, count=len(block) // layout.token_bytes)
                highest = max(highest, int(tokens.max(initial=0)))
                on_bytes(len(block))
                if layout.format == "raw" and layout.dtype == "uint16" and _has_gaps(tokens):
                    raise DataError(
                        f"is uint16, but every second token of shard {path} would be 0",
                        field="data_dtype",
                        value="uint16",
                        remedy="use uint32",
                    )
    except OSError as error:
        raise unreadable(f"shard {path}", path, error) from None
    return Shard(path=path, layout=layout, sha256=digest.hexdigest(), highest=highest, modified_ns=modified_ns)


def _has_gaps(tokens: TokenArray) -> bool:
    """Whether every second token is 0, as where 32 bits are read as twice 16."""
    return len(tokens) >= 64 and not tokens[1::2].any()
