"""Formats of token files: where the tokens are, and in which type.

    llm.c, modded-nanogpt     256 little-endian int32 (20240520, 1, count), then uint16
    llm.c for Llama 3         256 little-endian int32 (20240801, 7, count), then uint32
    build-nanogpt             numpy's .npy: one axis of uint16 or uint32
    nanoGPT, OLMo-core        no header: the file is the tokens, in the type that the user names

A file may come from anywhere: what its header claims is compared with its size, and a .npy file with pickled
objects is refused.
"""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from deepen.data.errors import DataError, unreadable
from deepen.errors import look_up

DTYPES = {"uint16": 2, "uint32": 4}
"""Types of tokens, with their bytes; little-endian on disk."""

SUFFIXES = (".bin", ".npy")
"""What the names of token files end in."""

HEADER_BYTES = 1024
HEADERS = {"uint16": (20240520, 1), "uint32": (20240801, 7)}
"""The first two numbers of llm.c's header, by the type of the tokens."""

_NPY_MAGIC = b"\x93NUMPY"
_NOT_TOKENS = {20240328: "llm.c's first format", 20240522: "llm.c's evals", 20240326: "an llm.c checkpoint"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLayout:
    """Where the tokens of a file are: `length` numbers of type `dtype` from byte `offset` to its end.

    Attributes:
        format: for people: `llm.c`, `npy` or `raw`.
        dtype: `uint16` or `uint32`.
    """

    format: str
    dtype: str
    offset: int
    length: int

    @property
    def token_bytes(self) -> int:
        """Bytes of a token."""
        return DTYPES[self.dtype]

    @property
    def numpy_dtype(self) -> np.dtype[np.unsignedinteger]:
        """The type of the tokens as they are on disk."""
        return np.dtype(f"<u{self.token_bytes}")

    @property
    def file_bytes(self) -> int:
        """The size of the file."""
        return self.offset + self.length * self.token_bytes


def make_header(dtype: str, length: int) -> bytes:
    """The header of llm.c's files, for `length` tokens of type `dtype`."""
    header = np.zeros(HEADER_BYTES // 4, dtype="<i4")
    header[:3] = *HEADERS[dtype], length
    return header.tobytes()


def read_layout(path: Path, dtype: str | None = None) -> TokenLayout:
    """Where the tokens of a file are, after checking its header and size.

    Args:
        path: the file.
        dtype: the type of the tokens if the file has no header: `uint16` or `uint32`.

    Raises:
        DataError: it is missing, empty, cannot be read, has an unknown format, or not the size that its header
            claims.
        InvalidValueError: `dtype` is unknown.
    """
    if dtype is not None:
        look_up(DTYPES, dtype, field="data_dtype")
    try:
        if not path.is_file():
            problem = "is a link that leads nowhere" if path.is_symlink() else "is not a file"
            raise DataError(f"shard {path} {problem}", value=path, remedy="copy it again")
        size = path.stat().st_size
        with path.open("rb") as file:
            layout = _read_header(path, file, size, dtype)
    except OSError as error:
        raise unreadable(f"shard {path}", path, error) from None
    if size <= layout.offset:
        raise DataError(f"shard {path} is empty ({size} bytes)", value=path, remedy="prepare or copy it again")
    if size != layout.file_bytes:
        raise DataError(
            f"shard {path} is truncated or damaged: its header claims {layout.length:,} tokens, "
            f"its size fits {(size - layout.offset) / layout.token_bytes:,.12g}",
            value=path,
            remedy="copy it again",
        )
    return layout


def _read_header(path: Path, file: BinaryIO, size: int, dtype: str | None) -> TokenLayout:
    beginning = file.read(HEADER_BYTES)
    if beginning.startswith(_NPY_MAGIC):
        file.seek(0)
        return _read_npy_header(path, file)
    numbers = struct.unpack("<3i", beginning[:12]) if len(beginning) >= 12 else (0, 0, 0)
    for of_header, header in HEADERS.items():
        if numbers[0] == header[0] and numbers[1] != header[1]:
            raise DataError(
                f"shard {path} has llm.c's header {numbers[0]}, {numbers[1]}; only version {header[1]} is read",
                value=path,
                remedy="prepare the data in that format",
            )
        if numbers[:2] == header:
            return TokenLayout(format="llm.c", dtype=of_header, offset=HEADER_BYTES, length=numbers[2])
    if numbers[0] in _NOT_TOKENS:
        raise DataError(
            f"shard {path} is not tokens: its header {numbers[0]} is that of {_NOT_TOKENS[numbers[0]]}",
            value=path,
            remedy="move it away, or prepare the data again",
        )
    if dtype is None and size:
        raise DataError(
            f"shard {path} has neither llm.c's header nor numpy's (it begins with {numbers[0]}, {numbers[1]})",
            value=path,
            remedy="if the file is tokens alone, as nanoGPT and OLMo-core write them, "
            "name their type with `data_dtype`: uint16 or uint32",
        )
    layout = TokenLayout(format="raw", dtype=dtype or "uint16", offset=0, length=size // DTYPES[dtype or "uint16"])
    if size != layout.file_bytes:
        raise DataError(
            f"is {layout.dtype}, but shard {path} has {size:,} bytes, not a whole number of such tokens",
            field="data_dtype",
            value=dtype,
            remedy="use another, or copy the shard again",
        )
    return layout


def _read_npy_header(path: Path, file: BinaryIO) -> TokenLayout:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
    except OSError:
        raise
    except Exception:  # numpy parses the header as Python, and raises what its parser raises
        raise DataError(f"shard {path} is damaged: its numpy header", value=path, remedy="copy it again") from None
    name = next((name for name, size in DTYPES.items() if dtype == np.dtype(f"<u{size}")), None)
    if name is None or len(shape) != 1:
        kind = "pickled objects" if dtype.hasobject else dtype.name
        raise DataError(
            f"shard {path} is an array of {kind} of shape {shape}, not of uint16 or uint32 tokens in a row",
            value=path,
            remedy="save it again: np.save(path, tokens.astype(np.uint16).ravel())",
        )
    return TokenLayout(format="npy", dtype=name, offset=file.tell(), length=shape[0])
