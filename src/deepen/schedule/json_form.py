"""Conversion of dataclasses to JSON's types and back, for study.json and for other processes.

    content = to_json(Evaluation(every_tokens=64, validation_tokens=512))
    # {"every_tokens": 64, "validation_tokens": 512, "tasks": [], "tasks_every_tokens": 0, "mark_tokens": 10485760}
    from_json(Evaluation, content)  # the same value

Reading checks every type, because the content may come from a stranger. A problem is an InvalidValueError whose
field is the path to the value, such as `arms[1].recipe`. A rate is written with its kind: `{"kind": "wsd",
"peak": 0.001}`. A recipe is written as its name; a function as a record of it, with which it cannot be called, so
that reading runs no code. A class with its own `to_json` and `from_json`, such as `OptimizerSpec`, uses these.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from deepen.errors import InvalidValueError, join_or
from deepen.schedule.rate import RATES, Rate
from deepen.schedule.recipe import RecipeLike, RecordedRecipe, record_recipe

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Convert a value to JSON's types."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return _kind(value) | fields_to_json(value)
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if callable(value):
        return to_json(record_recipe(value))
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: add it to deepen.schedule.json_form")


def fields_to_json(value: Any) -> dict[str, Any]:
    """Convert the fields of a dataclass to JSON's types."""
    return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}


def from_json(kind: type[T], content: Any) -> T:
    """Read a value of a type that `to_json` wrote.

    Raises:
        InvalidValueError: the content does not have this type.
    """
    value: T = _read(kind, content, "")
    return value


def fields_from_json(kind: type[T], content: Any, place: str = "") -> T:
    """Read a dataclass from a JSON object of its fields."""
    if not isinstance(content, Mapping):
        raise _wrong(place, content, "an object")
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in content:
        if name not in known:
            raise InvalidValueError(f"is unknown: use {join_or(known)}", field=_at(place, name), allowed=known)
    for name, field in known.items():
        if name not in content and field.default is MISSING and field.default_factory is MISSING:
            raise InvalidValueError("is missing", field=_at(place, name))
    return kind(**{name: _read(hints[name], entry, _at(place, name)) for name, entry in content.items()})


def _kind(value: Any) -> dict[str, str]:
    """The kind of a rate, as its field allows any rate; nothing for other values."""
    kinds = [name for name, rate in RATES.items() if type(value) is rate]
    return {"kind": kinds[0]} if kinds else {}


def _read(kind: Any, content: Any, place: str) -> Any:
    if kind is Any:
        return content
    if kind is Rate:
        return _read_rate(content, place)
    if kind == RecipeLike:
        return _read_recipe(content, place)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _read_union(kind, content, place)
    if origin is tuple:
        return _read_tuple(get_args(kind), content, place)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(content, Mapping):
            raise _wrong(place, content, "an object")
        each = get_args(kind)[1]
        return {str(key): _read(each, entry, _at(place, str(key))) for key, entry in content.items()}
    if hasattr(kind, "from_json"):
        return _read_own(kind, content, place)
    if is_dataclass(kind):
        return fields_from_json(kind, content, place)  # type: ignore[arg-type]
    return _read_scalar(kind, content, place)


def _read_tuple(kinds: tuple[Any, ...], content: Any, place: str) -> tuple[Any, ...]:
    """Read a tuple of any length, `tuple[int, ...]`, or one of a type for each entry, `tuple[float, int]`."""
    if not isinstance(content, list | tuple):
        raise _wrong(place, content, "a list")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(content)
    elif len(kinds) != len(content):
        raise _wrong(place, content, f"a list of {len(kinds)}")
    entries = zip(kinds, content, strict=True)
    return tuple(_read(kind, entry, f"{place}[{index}]") for index, (kind, entry) in enumerate(entries))


def _read_rate(content: Any, place: str) -> Rate:
    if not isinstance(content, Mapping):
        raise _wrong(place, content, "an object")
    name = content.get("kind")
    if not isinstance(name, str) or name not in RATES:
        raise InvalidValueError(
            f"{name!r} is unknown: use {join_or(RATES)}", field=_at(place, "kind"), value=name, allowed=RATES
        )
    rest = {key: entry for key, entry in content.items() if key != "kind"}
    return fields_from_json(RATES[name], rest, place)


def _read_recipe(content: Any, place: str) -> RecipeLike:
    if isinstance(content, Mapping):
        return fields_from_json(RecordedRecipe, content, place)
    return str(_read_scalar(str, content, place))


def _read_own(kind: Any, content: Any, place: str) -> Any:
    """Read a value of a class that has its own `from_json`."""
    try:
        return kind.from_json(content)
    except (TypeError, AttributeError) as error:  # the wrong type of JSON value
        raise InvalidValueError(f"cannot be read: {error}", field=place, value=content) from None


def _read_union(kind: Any, content: Any, place: str) -> Any:
    """Read a value of a union: None if it is allowed, else the first type that fits."""
    choices = [choice for choice in get_args(kind) if choice is not NoneType]
    if content is None and len(choices) < len(get_args(kind)):
        return None
    for choice in choices[:-1]:
        try:
            return _read(choice, content, place)
        except InvalidValueError:
            continue
    return _read(choices[-1], content, place)


_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def _read_scalar(kind: Any, content: Any, place: str) -> Any:
    if kind is float and type(content) is int:
        return float(content)
    if kind in _NAMES:
        if type(content) is not kind:
            raise _wrong(place, content, _NAMES[kind])
        return content
    if not isinstance(content, str):
        raise _wrong(place, content, "text")
    try:
        return kind(content)  # a path, or a value of an enum
    except ValueError as error:
        raise InvalidValueError(f"is {content!r}: {error}", field=place, value=content) from None


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _wrong(place: str, content: Any, expected: str) -> InvalidValueError:
    shown = repr(content)[:40]
    return InvalidValueError(f"is {shown}: it must be {expected}", field=place, value=content)
