"""What follows from a recipe's function: its name, summary, source and options, and where it failed.

    def late(model, tokens, *, start_depth: int = 2) -> Schedule: ...

    read_options(late)  # {"start_depth": RecipeOption(name="start_depth", kind=int, default=2, help="")}

Any callable is read: functions, lambdas, `functools.partial`, objects with `__call__`.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from deepen.errors import InvalidValueError
from deepen.schedule.phase import Schedule

Build = Callable[..., Schedule]
"""A recipe's function: a model, a number of tokens and options → a schedule."""

STAGED_TOKENS = "staged_tokens"
"""The argument that makes a recipe one with a staged part."""


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


def read_name(build: Build) -> str:
    """The name of a function; `lambda` for one that has none, and for an object the name of its class."""
    function = _without_partial(build)
    name: str = getattr(function, "__name__", type(function).__name__)
    return name.strip("<>")


def read_summary(build: Build) -> str:
    """The first paragraph of the docstring, in one line."""
    return _one_line(_docstring(build).split("\n\n")[0])


def read_source(build: Build) -> str:
    """Where the recipe was published: the paragraph after `Source:`; empty if there is none."""
    _, _, source = _docstring(build).partition("Source: ")
    return _one_line(source.split("\n\n")[0])


def read_options(build: Build) -> dict[str, RecipeOption]:
    """The options by name: every argument after model and tokens, in order.

    Options that several recipes share can be the keys of a `TypedDict`, which the function takes as
    `**options: Unpack[Shared]`; their help is in its docstring.
    """
    # The search for a mark builds a recipe many times, and reading annotations takes longer than building it.
    return dict(_read_options_once(build) if inspect.isfunction(build) else _read_options(build))


@lru_cache(maxsize=256)
def _read_options_once(build: Build) -> Mapping[str, RecipeOption]:
    return MappingProxyType(_read_options(build))


def _read_options(build: Build) -> dict[str, RecipeOption]:
    hints, help_texts = _hints(build), _argument_help(_docstring(build))
    options = {}
    for parameter in _option_parameters(build):
        default = None if parameter.default is parameter.empty else parameter.default
        options[parameter.name] = RecipeOption(
            name=parameter.name,
            default=default,
            help=help_texts.get(parameter.name, ""),
            **_read_annotation(hints.get(parameter.name, type(default))),
        )
    shared = _find_shared_options(build)
    return options if shared is None else {**options, **_read_typed_dict(shared)}


def takes_any_option(build: Build) -> bool:
    """Whether the function takes options that it does not name: `**options`."""
    has_keywords = any(parameter.kind is parameter.VAR_KEYWORD for parameter in _parameters(build))
    return has_keywords and _find_shared_options(build) is None


def has_staged_part(build: Build) -> bool:
    """Whether the function takes `staged_tokens`."""
    return any(parameter.name == STAGED_TOKENS for parameter in _parameters(build))


def read_file(build: Build) -> str:
    """The file that defines a function; empty if there is none, as in a notebook."""
    try:
        file = inspect.getsourcefile(_unwrap(build))
    except TypeError:
        return ""
    return file if file and Path(file).is_file() else ""


def read_code(build: Build) -> str:
    """The code of a function; empty if Python does not know it."""
    try:
        return inspect.getsource(_unwrap(build))
    except (OSError, TypeError):
        return ""


def describe_failure(error: BaseException, file: str) -> str:
    """An error in one line, with the last line of a file that led to it."""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if file and frame.filename == file]
    where = f" ({Path(file).name}, line {lines[-1]})" if lines else ""
    problem = _one_line(str(error))
    return f"{type(error).__name__}{f': {problem}' if problem else ''}{where}"


def _without_partial(build: Build) -> Any:
    while isinstance(build, partial):
        build = build.func
    return inspect.unwrap(build)


def _unwrap(build: Build) -> Any:
    """The function behind a callable."""
    function = _without_partial(build)
    is_function = inspect.isroutine(function) or inspect.isclass(function)
    return function if is_function else type(function).__call__


def _parameters(build: Build) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(build).parameters.values()]
    except (TypeError, ValueError):  # not a function, or one of C
        return []


def _option_parameters(build: Build) -> list[inspect.Parameter]:
    after_budget = _parameters(build)[2:]
    return [
        parameter
        for parameter in after_budget
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name != STAGED_TOKENS
    ]


def _find_shared_options(build: Build) -> Any:
    """The `TypedDict` of a function's `**options: Unpack[Shared]`; None if it has none."""
    for parameter in _parameters(build):
        hint = _hints(build).get(parameter.name)
        if parameter.kind is parameter.VAR_KEYWORD and get_origin(hint) is Unpack:
            return get_args(hint)[0]
    return None


def _read_typed_dict(shared: Any) -> dict[str, RecipeOption]:
    help_texts = _argument_help(inspect.getdoc(shared) or "")
    return {
        name: RecipeOption(
            name=name,
            default=next((extra.value for extra in get_args(hint) if isinstance(extra, Default)), None),
            help=help_texts.get(name, ""),
            **_read_annotation(hint),
        )
        for name, hint in get_type_hints(shared, include_extras=True).items()
    }


def _hints(build: Build) -> dict[str, Any]:
    try:
        return get_type_hints(_unwrap(build), include_extras=True)
    except Exception:  # annotations are a user's code, and may name what does not exist
        return {}


def _docstring(build: Build) -> str:
    text = inspect.getdoc(_unwrap(build))
    return "" if text is None else text


def _one_line(text: str) -> str:
    return " ".join(text.split())


_ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*): (.*)$")


def _argument_help(docstring: str) -> dict[str, str]:
    """The text of each argument under `Args:`."""
    _, _, section = docstring.partition("Args:\n")
    entries: list[tuple[list[str], list[str]]] = []
    for line in section.split("\n\n")[0].splitlines():
        if match := _ARGUMENT.match(line):
            entries.append((match[1].split(", "), [match[2]]))
        elif entries:
            entries[-1][1].append(line)
    return {name: _one_line(" ".join(lines)) for names, lines in entries for name in names}


def _read_annotation(annotation: Any) -> dict[str, Any]:
    """The fields of an option that follow from its annotation."""
    choices: tuple[str, ...] = ()
    is_open = False
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        for extra in extras:
            if isinstance(extra, OneOf):
                choices, is_open = tuple(extra.names), extra.is_open
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    single = {each for each in alternatives if each is not NoneType and _element_type(each) is None}
    listed = {_element_type(each) for each in alternatives} - {None}
    kinds = single | listed
    kind = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else object
    if get_origin(kind) is Literal and all(isinstance(name, str) for name in get_args(kind)):
        kind, choices = str, get_args(kind)
    if kind not in (int, float, str, bool):
        return {"kind": object, "choices": choices}
    return {
        "kind": kind,
        "choices": choices,
        "is_open": is_open,
        "takes_one": bool(single),
        "takes_several": bool(listed),
    }


def _element_type(annotation: Any) -> Any:
    """The type of the elements of a list or tuple of any length; None for other annotations."""
    arguments = get_args(annotation)
    if get_origin(annotation) in (list, Sequence) or (get_origin(annotation) is tuple and arguments[1:] == (...,)):
        return arguments[0]
    return None
