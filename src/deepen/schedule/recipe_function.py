"""What follows from a recipe's function: its name, summary, source and options, and where it failed.

    def late(model, tokens, *, start_depth: int = 2) -> Schedule: ...

    read_options(late)  # {"start_depth": RecipeOption(name="start_depth", kind=int, default=2, help="")}

Any callable is read: functions, lambdas, `functools.partial`, objects with `__call__`.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType
from typing import Any, Unpack, get_args, get_origin, get_type_hints

from deepen.schedule.option import RecipeOption
from deepen.schedule.schedule import Schedule

Build = Callable[..., Schedule]
"""A recipe's function: a model, a number of tokens and options → a schedule."""

STAGED_TOKENS = "staged_tokens"
"""The argument that makes a recipe one with a staged part."""


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
        options[parameter.name] = RecipeOption.from_annotation(
            hints.get(parameter.name, type(default)),
            name=parameter.name,
            default=default,
            help=help_texts.get(parameter.name, ""),
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
        name: RecipeOption.from_annotation(hint, name=name, help=help_texts.get(name, ""))
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
