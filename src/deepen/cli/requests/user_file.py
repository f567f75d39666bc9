"""Python files of a user: a study file, and a recipe in a file, `FILE.py:FUNCTION`.

A file is executed as `python FILE.py` would execute it, except that its `__name__` is not `"__main__"`: modules
beside it can be imported. What it prints goes to standard error, because standard output is the command's result.
"""

import re
import runpy
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import find_argument
from deepen.cli.requests.value_types import Completion, ValueType, one_of
from deepen.errors import nearest
from deepen.schedule.recipe import Recipe, RecipeLike
from deepen.schedule.recipe_function import describe_failure
from deepen.schedule.recipes import RECIPES, get_recipe
from deepen.study.define.study import Study

_RECIPE = re.compile(r"(.+\.py)(?::(.*))?")


def names_file(text: str) -> bool:
    """Whether a word names a Python file."""
    return text.endswith(".py")


def names_recipe(text: str) -> bool:
    """Whether a word names a recipe in a file, `./mine.py:my_recipe`, or only the file."""
    return _RECIPE.fullmatch(text) is not None


def find_recipe(argv: Sequence[str], options: Sequence[Option]) -> str:
    """The word of a command line that names a recipe in a file; empty if there is none."""
    return find_argument(argv, options, names_recipe)


def read_study(path: Path) -> Study:
    """The study that a file assigns to `study`.

    Raises:
        ValueError: the file does not exist, fails, or assigns no study; one line.
    """
    study = _run(path, "study file").get("study")
    if not isinstance(study, Study):
        raise ValueError(f"study file {path} defines no `study`: it must assign a deepen.Study to that name")
    return study


def read_recipe(text: str) -> Recipe:
    """The recipe that `FILE.py:FUNCTION` names.

    Raises:
        ValueError: the file does not exist, fails, or has no such function; one line.
    """
    match = _RECIPE.fullmatch(text)
    assert match is not None, text
    path, name = Path(match[1]), match[2]
    content = _run(path, "recipe file")
    functions = [key for key, value in content.items() if _is_function_of(value, content)]
    known = f"it has {', '.join(functions)}" if functions else "it has none"
    if not name:
        raise ValueError(f"recipe file {path}: name a function in it, {path}:FUNCTION; {known}")
    if name not in content:
        raise ValueError(f"recipe file {path} has no function {name!r}{nearest(name, functions)}: {known}")
    if not callable(content[name]):
        raise ValueError(f"recipe {text} is not a function: it is a value of type {type(content[name]).__name__}")
    return get_recipe(content[name])


def _read_recipe_or_name(text: str) -> RecipeLike:
    if names_recipe(text):
        return read_recipe(text).build
    return str(one_of(RECIPES).read(text))


ANY_RECIPE = ValueType(
    metavar="RECIPE", read=_read_recipe_or_name, names=tuple(RECIPES), completion=Completion.FILES
)
"""A recipe, by name or in a file."""


def _is_function_of(value: object, content: dict[str, Any]) -> bool:
    """Whether a value is a function that a file defines itself, not one that it imports."""
    return callable(value) and getattr(value, "__module__", None) == content["__name__"]


def _run(path: Path, what: str) -> dict[str, Any]:
    """The names that a file defines."""
    if not path.is_file():
        raise ValueError(f"{what} {path} {'is not a file' if path.exists() else 'does not exist'}")
    file = str(path.resolve())
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # and it stays there: a recipe may import when it is called
    try:
        with redirect_stdout(sys.stderr):
            return runpy.run_path(file)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{what} {path} failed: {describe_failure(error, file)}") from None
