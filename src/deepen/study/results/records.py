"""Frozen dataclasses that are written to JSON and read from JSON, even if a stranger wrote it.

Each field is read from the key of the same name. A value that does not fit the annotation is replaced by the
field's default, else by None if it is allowed, else by an empty value. Unknown keys are ignored:

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Point(Record):
        tokens: int
        loss: float | None

    Point.from_json({"tokens": "many", "loss": float("nan"), "colour": "red"})  # Point(tokens=0, loss=None)

Numbers are finite; strings are one line of printable characters. Strings are not escaped here, but where they are
shown.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from numbers import Integral, Real
from typing import Any, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

MAX_NUMBER = 10**30
"""Larger than any loss, time or number of FLOPs; larger numbers could overflow in sums."""


class Record:
    """Base class of dataclasses for JSON objects with known keys. `record["key"]` is the field `key`."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        """The field of this name, as in the JSON object."""
        if key not in (field.name for field in fields(self)):  # type: ignore[arg-type]
            raise KeyError(key)
        return getattr(self, key)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a JSON object; any other value counts as empty. A record is returned unchanged."""
        return value if isinstance(value, cls) else read_record(cls, value)

    def to_json(self) -> dict[str, Any]:
        """Convert the record to JSON's types; numbers that are not finite become None."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], value: object) -> R:
    """Read a JSON object into a record, field by field."""
    given = value if isinstance(value, Mapping) else {}
    read = {}
    for field in _fields(cast(Any, kind)):  # mypy considers the class unhashable
        try:
            read[field.name] = _read(field.kind, given.get(field.name))
        except _MisfitError:
            read[field.name] = field.fallback
    return kind(**read)


class _MisfitError(Exception):
    """A value that its field cannot hold."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: Any
    fallback: Any


@cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    """The fields of a record, with their annotations and their fallbacks for values that do not fit."""
    hints = get_type_hints(kind)
    found = []
    for field in fields(kind):
        default = _empty(hints[field.name]) if field.default is MISSING else field.default
        found.append(_Field(field.name, hints[field.name], default))
    return tuple(found)


def _empty(kind: Any) -> Any:
    """The empty value of an annotation: None if it is allowed."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return None
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_json({})
    return (origin if origin is tuple else dict if origin is Mapping else kind)()


def _read(kind: Any, value: object) -> Any:
    """Read a value that fits an annotation."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_first_that_fits(arguments, value)
    if origin is tuple:
        return _read_tuple(arguments, value)
    if origin is Mapping:
        return _read_mapping(arguments[1], value)
    if kind is types.NoneType and value is None:
        return None
    if kind in _SCALARS:
        return _SCALARS[kind](value)
    if is_dataclass(kind) and isinstance(value, Mapping | Record):
        return cast(type[Record], kind).from_json(value)
    if isinstance(kind, type) and issubclass(kind, Enum) and value in [member.value for member in kind]:
        return kind(value)
    raise _MisfitError


def _read_first_that_fits(kinds: tuple[Any, ...], value: object) -> Any:
    for kind in kinds:
        try:
            return _read(kind, value)
        except _MisfitError:
            continue
    raise _MisfitError


def _read_tuple(kinds: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    """Read a tuple. With a fixed length, every entry must fit; otherwise entries that do not fit are left out."""
    if not isinstance(value, list | tuple):
        raise _MisfitError
    if len(kinds) == 2 and kinds[1] is ...:
        return tuple(_read_those_that_fit(kinds[0], dict(enumerate(value))).values())
    if len(value) != len(kinds):
        raise _MisfitError
    return tuple(_read(kind, entry) for kind, entry in zip(kinds, value, strict=True))


def _read_mapping(kind: Any, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _MisfitError
    return {printable(str(key)): entry for key, entry in _read_those_that_fit(kind, value).items()}


def _read_those_that_fit(kind: Any, entries: Mapping[Any, object]) -> dict[Any, Any]:
    read = {}
    for key, entry in entries.items():
        try:
            read[key] = _read(kind, entry)
        except _MisfitError:
            continue
    return read


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _MisfitError
    return value


def _integer(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise _MisfitError
    return int(number)


def _number(value: object) -> float:
    """A number; integers stay integers, so that large counts of FLOPs stay exact."""
    if isinstance(value, bool) or not isinstance(value, Real):  # numpy's numbers are Real too
        raise _MisfitError
    number = int(value) if isinstance(value, Integral) else float(value)
    if not abs(number) <= MAX_NUMBER:  # NaN compares as false
        raise _MisfitError
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _MisfitError
    return printable(value)


_SCALARS: Mapping[Any, Any] = {bool: _boolean, int: _integer, float: _number, str: _text}


def printable(line: str) -> str:
    """Replace line breaks, control characters and marks that change the direction of text by spaces."""
    return "".join(c if c.isprintable() else " " for c in line).strip()


def _plain(value: Any) -> Any:
    """Convert a value to JSON's types."""
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Enum):
        return value.value
    return None if isinstance(value, float) and not math.isfinite(value) else value
