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

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.schedule.option import RecipeOption
from deepen.schedule.rate import WSD
from deepen.schedule.recipe_function import (
    STAGED_TOKENS,
    Build,
    describe_failure,
    has_staged_part,
    read_code,
    read_file,
    read_name,
    read_options,
    read_source,
    read_summary,
    takes_any_option,
)
from deepen.schedule.schedule import Schedule

B = TypeVar("B", bound=Build)


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
        needs_checkpoint: whether it continues a trained model, and cannot begin with fresh weights.
        presets: sets of options by name.
        closed_form: the source's formula for the cost of the staged part, if it has one.
    """

    name: str
    build: Build
    is_control: bool = False
    needs_checkpoint: bool = False
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    closed_form: ClosedForm | None = None

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, in one line."""
        return read_summary(self.build)

    @property
    def source(self) -> str:
        """Where the recipe was published; empty if the docstring names no source."""
        return read_source(self.build)

    @property
    def has_staged_part(self) -> bool:
        """Whether the recipe first trains in stages, for as many tokens as the baseline."""
        return has_staged_part(self.build)

    @property
    def options(self) -> dict[str, RecipeOption]:
        """The options by name, in the order of the function's arguments."""
        return read_options(self.build)

    @property
    def is_part_of_deepen(self) -> bool:
        """Whether deepen defines the recipe, and not its user."""
        registered = _registered.get(self.name)
        is_registered = registered is not None and registered.build is self.build
        return is_registered and self.build.__module__.startswith("deepen.")

    def name_run(self, options: Mapping[str, Any]) -> str:
        """The name of a run: the recipe's, with what is trained if an option `train` limits it."""
        own = self.options.get("train")
        trained = options.get("train")
        if own is None or trained in (None, own.default):
            return self.name
        return f"{self.name} with train {trained}"

    def schedule(
        self, model: ModelConfig, tokens: int, baseline_tokens: int, options: Mapping[str, Any]
    ) -> Schedule:
        """Build the schedule for `tokens` tokens in total, of which a staged part gets `baseline_tokens`.

        Raises:
            InvalidValueError: an option is unknown or does not fit the model or the tokens; or the function of a
                user failed, or returned what cannot be trained.
        """
        known = self.options
        if (unknown := sorted(set(options) - set(known))) and not takes_any_option(self.build):
            names = ", ".join(known) if known else "none"
            raise InvalidValueError(
                f"recipe {self.name} has no option {unknown[0]}: it has {names}",
                value=unknown[0],
                allowed=known,
            )
        budget = {STAGED_TOKENS: baseline_tokens} if self.has_staged_part else {}
        if self.is_part_of_deepen:
            for name, value in options.items():
                known[name].check(value)
            return self.build(model, tokens, **budget, **options)
        try:
            # What the function prints, at each of many calls, is not part of a command's result.
            with redirect_stdout(sys.stderr):
                schedule = self.build(model, tokens, **budget, **options)
                _check_returned(schedule, model, tokens)
                if self.build(model, tokens, **budget, **options) != schedule:
                    raise InvalidValueError("returned two different schedules for the same arguments")
        except InvalidValueError as error:
            raise error.within(f"recipe {self.name}") from error
        except (Exception, SystemExit) as error:
            failure = describe_failure(error, read_file(self.build))
            raise InvalidValueError(f"recipe {self.name} failed: {failure}", value=self.name) from error
        return schedule

    def continual_share(self, options: Mapping[str, Any], ratio: float = 1.0) -> Fraction:
        """Tokens of the continual phase ÷ tokens of the baseline at equal compute, by the closed form."""
        assert self.closed_form is not None, f"recipe {self.name} has no closed form"
        return 1 - self.closed_form(options, ratio)


def recipe(
    name: str,
    *,
    is_control: bool = False,
    needs_checkpoint: bool = False,
    presets: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    closed_form: ClosedForm | None = None,
) -> Callable[[B], B]:
    """Register a function as the recipe `name`; the function itself does not change.

    Args:
        name, is_control, needs_checkpoint, presets, closed_form: see `Recipe`.
    """

    def register(build: B) -> B:
        if name in _registered and _registered[name].build.__module__ != build.__module__:
            raise InvalidValueError(
                f"{name!r} is defined in {_registered[name].build.__module__} already", field="recipe", value=name
            )
        _registered[name] = Recipe(
            name=name,
            build=build,
            is_control=is_control,
            needs_checkpoint=needs_checkpoint,
            presets=presets,
            closed_form=closed_form,
        )
        return build

    return register


def _check_returned(schedule: object, model: ModelConfig, tokens: int) -> None:
    """Check what a user's function returned, as far as `Schedule` and `Phase` have not."""
    if not isinstance(schedule, Schedule):
        raise InvalidValueError(f"returned {_describe_type(schedule)}, not a deepen.Schedule")
    if not abs(schedule.tokens - tokens) <= len(schedule.phases):  # each phase may be rounded
        raise InvalidValueError(
            f"returned {schedule.tokens:,} tokens where {tokens:,} were asked for",
            remedy="divide the argument `tokens` among the phases",
        )
    if (depth := max(phase.depth for phase in schedule.phases)) > model.depth:
        raise InvalidValueError(f"returned {depth} layers, but the model has {model.depth}")
    if schedule.rate != WSD():
        raise InvalidValueError(
            "returned a schedule with a rate, which is ignored", remedy="set the rate of the arm or of the study"
        )
    _ = schedule.trained_parts  # raises if a phase trains blocks that do not exist


def _describe_type(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedRecipe:
    """A user's function as study.json records it: enough to name it, but not to call it.

    No field is part of a study's identity: two functions are the same recipe if they return the same schedules.

    Attributes:
        function: its name.
        file: the file that defines it; empty if there is none, as in a notebook.
        code: its code; empty if Python does not know it.
    """

    function: str = field(metadata={"identity": False})
    file: str = field(default="", metadata={"identity": False})
    code: str = field(default="", metadata={"identity": False})


def record_recipe(build: Build) -> RecordedRecipe:
    """The record of a user's function."""
    return RecordedRecipe(function=read_name(build), file=read_file(build), code=read_code(build))


RecipeLike = str | Build | RecordedRecipe
"""A recipe's name, a function, or the record of a function."""


_registered: dict[str, Recipe] = {}


def registered_recipes() -> Mapping[str, Recipe]:
    """The recipes registered so far, by name."""
    return _registered
