"""Read files that may be compressed with gzip or Zstandard, in chunks."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from deepen.extras import import_extra

_READ_BYTES = 1 << 20
_MAX_WINDOW_BYTES = 1 << 31
"""The largest window of Zstandard, as `zstd --long=31` writes it."""

COMPRESSED = (".gz", ".zst")


class DamagedFileError(Exception):
    """A file that cannot be decompressed from some place on."""


def suffix(path: Path) -> str:
    """The extension of a file without that of its compression, in lower case: `.jsonl` for `a.jsonl.gz`."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return name.suffix.lower()


def read_chunks(path: Path, on_read: Callable[[int], None] = lambda position: None) -> Iterator[bytes]:
    """The content of a file, decompressed.

    Args:
        path: the file.
        on_read: called with the position in the file on disk.

    Raises:
        DamagedFileError: the file is truncated, or its compressed data are damaged.
    """
    with path.open("rb") as file:
        match path.suffix.lower():
            case ".gz":
                yield from _decompress(file, lambda: zlib.decompressobj(wbits=31), zlib.error, on_read)
            case ".zst":
                zstandard = import_extra("zstandard", extra="data", purpose="reading .zst files")
                decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
                yield from _decompress(file, decompressor.decompressobj, zstandard.ZstdError, on_read)
            case _:
                while chunk := file.read(_READ_BYTES):
                    on_read(file.tell())
                    yield chunk


def _decompress(
    file: BinaryIO, start: Callable[[], Any], error_type: type[Exception], on_read: Callable[[int], None]
) -> Iterator[bytes]:
    """Decompress a file that consists of any number of compressed streams, one after another."""
    stream, is_open = start(), False
    while chunk := file.read(_READ_BYTES // 4):
        on_read(file.tell())
        while chunk:
            is_open = True
            try:
                yield stream.decompress(chunk)
            except error_type as error:
                raise DamagedFileError(f"its compressed data are damaged ({error})") from None
            chunk = b""
            if stream.eof:
                chunk, stream, is_open = stream.unused_data.lstrip(b"\0"), start(), False
    if is_open:
        raise DamagedFileError("it is truncated: its compressed data do not end")
