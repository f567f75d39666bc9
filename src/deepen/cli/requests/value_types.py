"""What options take: numbers, names, files, folders. Each type reads text and knows how a shell completes it.

Reading raises a ValueError whose message is a clause about the option: "is 0: it must be at least 1". The parser
puts the option in front of it: "--stages is 0: it must be at least 1".
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from deepen.durable import nearest_existing
from deepen.errors import join_or, nearest

MAX_NAME_BYTES = 255
"""The longest name of a file or folder on the usual file systems."""


class Completion(Enum):
    """What a shell offers as an option's value, beside its names; the values are shtab's words."""

    NOTHING = "nothing"
    FILES = "file"
    FOLDERS = "directory"


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueType:
    """What an option takes.

    Attributes:
        metavar: the word that stands for a value in help: TOKENS, FOLDER.
        read: makes a value of text.
        names: the values there are, where there are only some.
        completion: what a shell offers beside `names`.
        number: `int` or `float`, where it takes a number.
    """

    metavar: str
    read: Callable[[str], Any]
    names: tuple[str, ...] = ()
    completion: Completion = Completion.NOTHING
    number: type[float] | None = None


def whole_number(metavar: str = "N", minimum: int = 0, maximum: int = 10**18) -> ValueType:
    """Whole numbers from `minimum` to `maximum`; 1_000, 1e6, 20k, 5M and 10B are understood."""

    def read(text: str) -> int:
        scale = {"k": 10**3, "M": 10**6, "B": 10**9}.get(text[-1:], 1)
        try:
            value = Decimal(text[:-1] if scale > 1 else text) * scale  # exact: 4.1M is a whole number
        except ArithmeticError:
            raise ValueError(f"is {text!r}: it must be a whole number") from None
        if not value.is_finite() or value != value.to_integral_value():
            raise ValueError(f"is {text!r}: it must be a whole number")
        if value < minimum:
            raise ValueError(f"is {text}: it must be at least {minimum}")
        if value > maximum:
            raise ValueError(f"is {text}: it must be at most {maximum:,}")
        return int(value)

    return ValueType(metavar=metavar, read=read, number=int)


def number(
    metavar: str = "X", above: float = 0.0, maximum: float = 1e30, *, minimum: float | None = None
) -> ValueType:
    """Numbers in (above, maximum], or in [minimum, maximum]."""

    def read(text: str) -> float:
        value = read_number(text)
        if minimum is not None:
            if not minimum <= value <= maximum:
                raise ValueError(f"is {text}: it must be at least {minimum:g} and at most {maximum:g}")
        elif not above < value <= maximum:
            raise ValueError(f"is {text}: it must be above {above:g} and at most {maximum:g}")
        return value

    return ValueType(metavar=metavar, read=read, number=float)


def read_number(text: str) -> float:
    """Any number, infinities and NaN too."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"is {text!r}: it must be a number") from None


def one_of(names: Iterable[str], metavar: str = "NAME") -> ValueType:
    """One of some names."""
    known = tuple(str(name) for name in names)

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{text!r} is unknown{nearest(text, known)}: use {join_or(known)}")
        return text

    return ValueType(metavar=metavar, read=read, names=known)


def some_of(names: Iterable[str], metavar: str = "NAME[,NAME...]") -> ValueType:
    """Some of some names, separated by commas; each counts once."""
    one = one_of(names)

    def read(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.read(name.strip()) for name in text.split(",")))

    return ValueType(metavar=metavar, read=read, names=one.names)


def comma_separated(each: ValueType, *, or_one: bool = False) -> ValueType:
    """Values of a type, separated by commas, as a tuple; with `or_one` a single one is not put into a tuple."""

    def read(text: str) -> Any:
        values = tuple(each.read(part.strip()) for part in text.strip("()[]").removesuffix(",").split(","))
        return values[0] if or_one and len(values) == 1 else values

    return replace(each, metavar=f"{each.metavar}[,{each.metavar}...]", read=read, number=None)


def read_text(text: str) -> str:
    """Any text but an empty one, or one with a zero byte, which no path can contain."""
    if not text:
        raise ValueError("is empty: give it a value")
    if "\0" in text:
        raise ValueError(f"is {text!r}: leave out the zero byte")
    return text


def read_path(text: str) -> Path:
    """A path whose names are short enough for a file system."""
    path = Path(read_text(text))
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in path.parts):
        raise ValueError(f"is {text!r}: use names of at most {MAX_NAME_BYTES} bytes")
    return path


def _read_new_path(text: str) -> Path:
    path = read_path(text)
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"is {text!r}: name a file in a folder that exists and can be written to")
    return path


def is_writable_folder(folder: Path) -> bool:
    """Whether a folder can be written to, or made."""
    existing = nearest_existing(folder)
    return existing.is_dir() and os.access(existing, os.W_OK)


FILE = ValueType(metavar="FILE", read=read_path, completion=Completion.FILES)
NEW_FILE = replace(FILE, read=_read_new_path)
"""A file that will be written."""
FOLDER = ValueType(metavar="FOLDER", read=read_path, completion=Completion.FOLDERS)
TEXT = ValueType(metavar="TEXT", read=read_text)
