"""An arm of a study: a recipe with options, and what its runs have of their own.

docs/studies.md explains every field, with an example.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deepen.errors import InvalidValueError, is_line
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import Rate
from deepen.schedule.recipe import RecipeLike, RecordedRecipe
from deepen.schedule.recipes import find_registered


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One of the compared ways to train: a recipe with options, under a name that is unique in the study.

    Attributes:
        name: the arm's name.
        recipe: a recipe's name, or a function from a model and a number of tokens to a `Schedule`. A function that
            is registered as a recipe becomes its name; another is identified by the schedules that it returns.
        options: values for the function's further arguments.
        rate: the learning rate over a run; None for the study's. A fair comparison tunes every arm alike.
        peak: the peak of the study's rate, for this arm; None for the study's peak.
        batch_ramp, context_ramp: tokens of a step and of a sequence along the run; None for the study's. Contexts
            divide the study's, and a fair comparison gives the baseline the same ramps in a further arm.
    """

    name: str
    recipe: RecipeLike
    options: Mapping[str, Any] = field(default_factory=dict)
    rate: Rate | None = None
    peak: float | None = None
    batch_ramp: Ramp | None = None
    context_ramp: Ramp | None = None

    def __post_init__(self) -> None:
        if not is_line(self.name):
            raise InvalidValueError(f"of an arm is {self.name!r}: it must be text in one line", field="name")
        if not (isinstance(self.recipe, str | RecordedRecipe) or callable(self.recipe)):
            raise InvalidValueError(
                f"of arm {self.name!r} is {self.recipe!r}: it must be a recipe's name, or a function",
                field="recipe",
                value=self.recipe,
            )
        if callable(self.recipe) and (registered := find_registered(self.recipe)):
            object.__setattr__(self, "recipe", registered.name)
        if self.rate is not None:
            check_rate(self.rate, f"of arm {self.name!r} ")
        if self.peak is not None:
            self._check_peak(self.peak)
        for name in ("batch_ramp", "context_ramp"):
            ramp = getattr(self, name)
            if not isinstance(ramp, Ramp | None):
                raise InvalidValueError(
                    f"of arm {self.name!r} is {ramp!r}: write deepen.Ramp(steps=((0.0, 256), (0.5, 1024)))",
                    field=name,
                    value=ramp,
                )
        if not isinstance(self.options, Mapping):
            raise InvalidValueError(
                f"of arm {self.name!r} are {self.options!r}: they must be a dict of names and values",
                field="options",
                value=self.options,
            )
        for name, value in self.options.items():
            if not _is_plain(value):
                raise InvalidValueError(
                    f"of arm {self.name!r} have {name} {value!r:.60}: it must be a number, text, true or false, "
                    "None, or a list of these",
                    field="options",
                    value=value,
                )

    def with_peak(self, peak: float) -> "Arm":
        """The arm with another peak, of its own rate if it has one, else of the study's."""
        if self.rate is None:
            return replace(self, peak=peak)
        return replace(self, rate=replace(self.rate, peak=peak))  # type: ignore[type-var]

    def with_options(self, options: Mapping[str, Any]) -> "Arm":
        """The arm with these options in addition to its own, or in place of them."""
        return replace(self, options={**self.options, **options}) if options else self

    def scaled(self, share: float) -> "Arm":
        """The arm in a run with `share` as many tokens: a rate of its own keeps its shape and its peak."""
        return self if self.rate is None else replace(self, rate=self.rate.scaled(share))

    def _check_peak(self, peak: float) -> None:
        if isinstance(peak, bool) or not isinstance(peak, int | float) or not 0 < peak < math.inf:
            raise InvalidValueError(
                f"of arm {self.name!r} is {peak!r}: it must be a number above 0", field="peak", value=peak
            )
        if self.rate is not None:
            raise InvalidValueError(
                f"of arm {self.name!r} is given beside its own rate: set the peak of that rate",
                field="peak",
                value=peak,
            )


def check_rate(rate: Rate, whose: str = "") -> None:
    """Raise an InvalidValueError unless a rate is one."""
    if not hasattr(rate, "pieces") or isinstance(rate, type):
        peak = rate if isinstance(rate, float) else "..."
        raise InvalidValueError(f"{whose}is {rate!r}: write deepen.WSD(peak={peak})", field="rate", value=rate)


def _is_plain(value: object) -> bool:
    """Whether JSON has a value, so that study.json can record it."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)
