"""Tuning: how the learning rate, and options, of every arm are chosen, before the study's own seeds are trained.

    Tuning(rates=(4e-3, 8e-3, 1.6e-2), options={"grow_at": (0.3, 0.5)}, trials=8)

    full       3 trials of the grid, 5 more around the best rate
    one-shot   6 trials of the grid (rates x grow_at), 2 more around the best rate

Every arm gets the same number of trials. A trial is a run with a seed that the study itself does not use, so that
a loss that is low by chance is not reported. The trial with the lowest mean loss over these seeds decides, and the
arm is then trained with the study's seeds.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from deepen.errors import InvalidValueError, is_number, is_whole, join_or, listed, nearest
from deepen.schedule.recipes import get_recipe
from deepen.study.define.arm import Arm

MAX_TRIALS = 1000
MAX_REPEATS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """The trials that every arm of a study gets.

    Attributes:
        rates: peak learning rates to try; empty for the arm's own rate alone.
        options: values to try of options of recipes, for the arms whose recipe has them.
        trials: trials of each arm in all. Those beyond the grid are added one by one: beside the best rate, or
            beyond it if it is the lowest or the highest. 0 for as many as the largest grid of an arm has.
        seed: the first seed of the trials; the study's own seeds must be others.
        repeats: seeds of each trial.
        share: budget of a trial, as a share of the study's.

    Source: the equal number of trials is AlgoPerf's external tuning (Dahl et al. 2023, arXiv 2306.07179).
    """

    rates: tuple[float, ...] = ()
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    trials: int = 0
    seed: int = 1000
    repeats: int = 1
    share: float = 1.0

    def __post_init__(self) -> None:
        self._check_types()
        object.__setattr__(self, "rates", tuple(self.rates))
        object.__setattr__(self, "options", {name: tuple(values) for name, values in self.options.items()})
        if not all(is_number(rate) and rate > 0 for rate in self.rates) or len(set(self.rates)) < len(self.rates):
            raise InvalidValueError(
                f"are {listed(self.rates)}: they must be different numbers above 0",
                field="rates",
                value=self.rates,
            )
        for name, values in self.options.items():
            if not values or any(value in values[:nth] for nth, value in enumerate(values)):
                raise InvalidValueError(
                    f"gives {name} the values {listed(values)}: give at least one, and each only once",
                    field="options",
                    value=values,
                )
        for name, lowest, highest in (
            ("trials", 0, MAX_TRIALS),
            ("seed", 0, 2**32 - 1),
            ("repeats", 1, MAX_REPEATS),
        ):
            value = getattr(self, name)
            if not is_whole(value) or not lowest <= value <= highest:
                raise InvalidValueError(
                    f"is {value!r}: it must be a whole number from {lowest} to {highest:,}",
                    field=name,
                    value=value,
                )
            object.__setattr__(self, name, int(value))  # JSON has no whole numbers of numpy
        if not (is_number(self.share) and 0 < self.share <= 1):
            raise InvalidValueError(
                f"is {self.share!r}: it must be above 0 and at most 1", field="share", value=self.share
            )

    def _check_types(self) -> None:
        if not _is_list(self.rates):
            raise InvalidValueError(
                f"is {self.rates!r}: it must be a tuple of numbers", field="rates", value=self.rates
            )
        if not isinstance(self.options, Mapping) or not all(map(_is_list, self.options.values())):
            raise InvalidValueError(
                f"is {self.options!r}: it must be a dict of names and tuples of values",
                field="options",
                value=self.options,
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the trials."""
        return tuple(range(self.seed, self.seed + self.repeats))

    def grid(self, arm: Arm) -> tuple[Arm, ...]:
        """An arm with each combination of the rates and of the options that its recipe has."""
        own = get_recipe(arm.recipe).options
        names = [name for name in self.options if name in own]
        peaks = self.rates or (None,)
        return tuple(
            tuned_arm(arm, peak, dict(zip(names, values, strict=True)))
            for peak in peaks
            for values in product(*(self.options[name] for name in names))
        )

    def trials_per_arm(self, arms: Collection[Arm]) -> int:
        """Trials of each of these arms: as many as asked for, else as many as their largest grid has."""
        return self.trials or max(len(self.grid(arm)) for arm in arms)

    def check(self, arms: Collection[Arm], seeds: Collection[int]) -> None:
        """Check that arms can be tuned, for a study with these seeds.

        Raises:
            InvalidValueError: the trials have a seed of the study's, no arm has an option, an arm's grid has more
                trials than asked for, or an arm has a peak that tuning would replace.
        """
        if shared := sorted(set(self.seeds) & set(seeds)):
            raise InvalidValueError(
                f"is {self.seed}, and trials get {shared[0]}, one of the study's seeds",
                field="seed",
                value=self.seed,
                remedy="use another, so that the runs that are compared are not those that chose",
            )
        known = sorted({name for arm in arms for name in get_recipe(arm.recipe).options})
        for name in self.options:
            if name not in known:
                raise InvalidValueError(
                    f"has values of {name}, an option that no arm's recipe has{nearest(name, known)}",
                    field="options",
                    value=name,
                    remedy=f"use {join_or(known)}" if known else "",
                )
        for arm in arms:
            size = len(self.grid(arm))
            if self.trials and size > self.trials:
                raise InvalidValueError(
                    f"is {self.trials}, but the grid of arm {arm.name!r} has {size}",
                    field="trials",
                    value=self.trials,
                    remedy=f"use `trials` {size} or more, or fewer values",
                )
            if self.rates and arm.peak is not None:
                raise InvalidValueError(
                    f"of arm {arm.name!r} is {arm.peak}, but tuning chooses it: leave it out",
                    field="peak",
                    value=arm.peak,
                )


def _is_list(value: object) -> bool:
    """Whether a value has several values in it; text does not count."""
    return isinstance(value, Iterable) and not isinstance(value, str)


def tuned_arm(arm: Arm, peak: float | None, options: Mapping[str, Any]) -> Arm:
    """An arm with a peak rate, if one is given, and with options in addition to its own."""
    return (arm if peak is None else arm.with_peak(peak)).with_options(options)


def rates_around(peak: float, count: int) -> tuple[float, ...]:
    """Peak rates on a grid of factors of 2 around one of them; of an even number, more are below it."""
    return tuple(math.ldexp(peak, nth - count // 2) for nth in range(count))
