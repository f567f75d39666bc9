"""A recipe: a named way to train, as a value.

A recipe is a function from a model and a token budget to a schedule, registered by the decorator `recipe`:

    @recipe("late-growth")
    def late_growth(model: ModelConfig, tokens: int, *, start_depth: int = 2) -> Schedule:
        '''Train shallow for most of the run, then grow.

        Args:
            tokens: total training tokens.
            start_depth: blocks before growth.

        Source: where the idea was published.
        '''

Everything else follows from the function. Its keyword arguments are the recipe's options, with their types and
defaults. The docstring's first paragraph is the summary, the lines under `Args` are the help of the options, and
the paragraph after `Source:` is the source.

A recipe that trains in stages first takes `staged_tokens`, the tokens of its staged part, in addition to `tokens`.
It sets the `part` of its phases to `Part.STAGED` and `Part.CONTINUAL`.

`deepen.schedule.recipes` explains where to put the function.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Schedule

Build = TypeVar("Build", bound=Callable[..., Schedule])

_BUDGET = ("model", "tokens", "staged_tokens")
"""Arguments of a recipe's function that are not options."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """In an annotation, the allowed values of an option: `Annotated[str, OneOf(PLACEMENTS)]`."""

    names: Iterable[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeOption:
    """An option of a recipe.

    Attributes:
        name: the argument of the recipe's function.
        kind: the type of its value: `int`, `float`, `str` or `bool`.
        default: its default; None means that the recipe derives the value from the model.
        help: one sentence.
        choices: the allowed values; empty means any value of that type.
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()


class ClosedForm(Protocol):
    """The cost of a recipe's staged part ÷ the cost of full training on as many tokens, by the source's formula.

    `ratio` is the price of a backward pass in forward passes.
    """

    def __call__(self, options: Mapping[str, Any], ratio: float = 1.0) -> Fraction: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A named way to train.

    Attributes:
        name: the recipe's name in plans and studies.
        build: model, tokens and options → schedule.
        is_control: whether the recipe isolates a cause instead of competing.
        presets: sets of options by name.
        closed_form: the source's formula for the cost of the staged part, if it has one.
    """

    name: str
    build: Callable[..., Schedule]
    is_control: bool = False
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    closed_form: ClosedForm | None = None

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, in one line."""
        return _one_line(_docstring(self.build).split("\n\n")[0])

    @property
    def source(self) -> str:
        """Where the recipe was published; empty if the docstring names no source."""
        _, _, source = _docstring(self.build).partition("Source: ")
        return _one_line(source.split("\n\n")[0])

    @property
    def has_staged_part(self) -> bool:
        """Whether the recipe first trains in stages, for as many tokens as the baseline."""
        return "staged_tokens" in inspect.signature(self.build).parameters

    @property
    def options(self) -> dict[str, RecipeOption]:
        """The options by name, in the order of the function's arguments."""
        hints = get_type_hints(self.build, include_extras=True)
        help_texts = _argument_help(_docstring(self.build))
        options = {}
        for name, parameter in inspect.signature(self.build).parameters.items():
            if name not in _BUDGET:
                kind, choices = _read_annotation(hints[name])
                options[name] = RecipeOption(
                    name=name,
                    kind=kind,
                    default=parameter.default,
                    help=help_texts.get(name, ""),
                    choices=choices,
                )
        return options

    def schedule(
        self, model: ModelConfig, tokens: int, baseline_tokens: int, options: Mapping[str, Any]
    ) -> Schedule:
        """Build the schedule for `tokens` tokens in total, of which a staged part gets `baseline_tokens`.

        Raises:
            InvalidValueError: an option is unknown or does not fit the model or the tokens.
        """
        known = self.options
        if unknown := sorted(set(options) - set(known)):
            names = ", ".join(known) if known else "none"
            raise InvalidValueError(
                f"recipe {self.name} has no option {unknown[0]}: it has {names}",
                value=unknown[0],
                allowed=known,
            )
        budget = {"staged_tokens": baseline_tokens} if self.has_staged_part else {}
        return self.build(model, tokens, **budget, **options)

    def continual_share(self, options: Mapping[str, Any], ratio: float = 1.0) -> Fraction:
        """Tokens of the continual phase ÷ tokens of the baseline at equal compute, by the closed form."""
        assert self.closed_form is not None, f"recipe {self.name} has no closed form"
        return 1 - self.closed_form(options, ratio)


def recipe(
    name: str,
    *,
    is_control: bool = False,
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    closed_form: ClosedForm | None = None,
) -> Callable[[Build], Build]:
    """Register a function as the recipe `name`; the function itself does not change.

    Args:
        name, is_control, presets, closed_form: see `Recipe`.
    """

    def register(build: Build) -> Build:
        if name in _registered and _registered[name].build.__module__ != build.__module__:
            raise InvalidValueError(
                f"{name!r} is defined in {_registered[name].build.__module__} already", field="recipe", value=name
            )
        _registered[name] = Recipe(
            name=name, build=build, is_control=is_control, presets=presets, closed_form=closed_form
        )
        return build

    return register


_registered: dict[str, Recipe] = {}


def registered_recipes() -> Mapping[str, Recipe]:
    """The recipes registered so far, by name."""
    return _registered


def _docstring(build: Callable[..., Schedule]) -> str:
    text = inspect.getdoc(build)
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


def _read_annotation(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """The type of an option's value, and its allowed values."""
    choices: tuple[str, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        choices = tuple(name for extra in extras if isinstance(extra, OneOf) for name in extra.names)
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    [kind] = [alternative for alternative in alternatives if alternative is not NoneType]
    return kind, choices
