"""An option of a recipe as a value: its type, its default and its help, and what an annotation says about them.

RecipeOption.from_annotation(float | Sequence[float], name="grow_at", help="", default=0.5)
# RecipeOption(name="grow_at", kind=float, default=0.5, help="", takes_one=True, takes_several=True)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from deepen.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class OneOf:
    """In an annotation, the allowed values of an option: `Annotated[str, OneOf(PLACEMENTS)]`.

    If it `is_open`, other texts are allowed too, and the recipe reads them.
    """

    names: Iterable[str]
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Default:
    """In an annotation of a `TypedDict` of shared options, the value of one that is left out."""

    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeOption:
    """An option of a recipe.

    Attributes:
        name: the argument of the recipe's function.
        kind: the type of its value: `int`, `float`, `str` or `bool`; `object` for any other type.
        default: its default; None means that the recipe derives the value from the model.
        help: one sentence.
        choices: the allowed values; empty means any value of that type.
        is_open: whether other values than `choices` are allowed too.
        takes_one, takes_several: whether its value is a single one of that type (`float`), a list or tuple of them
            (`tuple[float, ...]`), or either (`float | Sequence[float]`).
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    is_open: bool = False
    takes_one: bool = True
    takes_several: bool = False

    @classmethod
    def from_annotation(cls, annotation: Any, *, name: str, help: str, default: Any = None) -> "RecipeOption":
        """The option that an annotation describes; its `Default`, if it has one, replaces `default`."""
        extras: list[Any] = []
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
        default = next((extra.value for extra in extras if isinstance(extra, Default)), default)
        allowed = next((extra for extra in extras if isinstance(extra, OneOf)), OneOf(()))
        return cls(
            name=name,
            help=help,
            default=default,
            is_open=allowed.is_open,
            **{"choices": tuple(allowed.names), **_read_type(annotation)},
        )

    def check(self, value: Any) -> None:
        """Check the type of a value; what it may be beyond that is checked by the recipe.

        Raises:
            InvalidValueError: it is of another type.
        """
        if value is None and self.default is None:
            return
        is_list = self.takes_several and isinstance(value, list | tuple)
        values = value if is_list else (value,) if self.takes_one else ("",)
        if self.kind is object or all(_is_a(self.kind, each) for each in values):
            return
        several = f"a list of {_PLURALS[self.kind]}" if self.takes_several else ""
        single = _SINGULARS[self.kind] if self.takes_one else ""
        use = " or ".join(filter(None, (single, several)))
        raise InvalidValueError(f"is {value!r}: it must be {use}", field=self.name, value=value)


_SINGULARS = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts", bool: "True and False"}


def _is_a(kind: type, value: object) -> bool:
    """Whether a value can be used where a type is asked for: a whole number as a number, never a bool."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _read_type(annotation: Any) -> dict[str, Any]:
    """The fields of an option that follow from its type."""
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    single = {each for each in alternatives if each is not NoneType and _element_type(each) is None}
    listed = {_element_type(each) for each in alternatives} - {None}
    kinds = single | listed
    kind = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else object
    if get_origin(kind) is Literal and all(isinstance(name, str) for name in get_args(kind)):
        return {"kind": str, "choices": get_args(kind), "takes_one": bool(single), "takes_several": bool(listed)}
    if kind not in (int, float, str, bool):
        return {"kind": object}
    return {"kind": kind, "takes_one": bool(single), "takes_several": bool(listed)}


def _element_type(annotation: Any) -> Any:
    """The type of the elements of a list or tuple of any length; None for other annotations."""
    arguments = get_args(annotation)
    if get_origin(annotation) in (list, Sequence) or (get_origin(annotation) is tuple and arguments[1:] == (...,)):
        return arguments[0]
    return None
