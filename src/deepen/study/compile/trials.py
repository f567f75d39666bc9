"""The trials of a study as values: what was tried for every arm, and what follows from it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Any, Generic, NamedTuple, TypeVar

from deepen.study.compile.routes import Draft, Route
from deepen.study.define.study import Arm, Study

R = TypeVar("R", Draft, Route)
S = TypeVar("S", Draft, Route)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial(Generic[R]):
    """A trial of an arm.

    Attributes:
        arm: the arm as it is tried, with its peak rate and options.
        peak: the peak of its rate.
        runs: its run with each seed of the trials.
        losses: their losses; None until a run is trained, infinity if it diverged.
        is_refined: whether it was added to the grid.
        smaller: of a constant depth, the same trial at the study's smaller budgets, from small to large. They
            choose the best depth of each budget, and no rate.
    """

    arm: Arm
    peak: float
    runs: tuple[R, ...]
    losses: tuple[float | None, ...]
    is_refined: bool = False
    smaller: tuple["Trial[R]", ...] = ()

    @property
    def at_all_budgets(self) -> tuple["Trial[R]", ...]:
        """The trial at all budgets, from small to large."""
        return tuple(chain(self.smaller, [self]))

    @property
    def is_finished(self) -> bool:
        """Whether it is trained at all budgets."""
        return all(trial.loss is not None for trial in self.at_all_budgets)

    @property
    def max_own_tokens(self) -> int:
        """Tokens that one seed of it trains at all budgets, at most."""
        longest = self.runs[0].mark.tokens
        return longest + sum(trial.runs[0].mark.own_tokens for trial in self.smaller)

    @property
    def loss(self) -> float | None:
        """The mean loss over the seeds; None until all runs are trained."""
        known = [loss for loss in self.losses if loss is not None]
        return fmean(known) if len(known) == len(self.losses) else None

    @property
    def name(self) -> str:
        """The trial in a few words."""
        return f"{self.arm.name}, trial at {self.peak:g}"

    def convert(self, to: Callable[[R], S]) -> "Trial[S]":
        """The same trial with other values for the runs."""
        return Trial(
            arm=self.arm,
            peak=self.peak,
            runs=tuple(to(run) for run in self.runs),
            losses=self.losses,
            is_refined=self.is_refined,
            smaller=tuple(trial.convert(to) for trial in self.smaller),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmTrials(Generic[R]):
    """The trials of an arm, or of a constant depth, and the one that is chosen.

    Attributes:
        arm: the arm as the study has it.
        option_names: the options that are tuned.
        fixed_depth: its depth, if it is a candidate for the best fixed depth; else None.
        trials: its trials, in the order in which they were made.
        trials_to_come: how many more will be made.
    """

    arm: Arm
    option_names: tuple[str, ...]
    fixed_depth: int | None
    trials: tuple[Trial[R], ...]
    trials_to_come: int = 0

    @property
    def chosen(self) -> Trial[R] | None:
        """The trial with the lowest loss, the earliest of equal ones; None while trials are missing."""
        return None if self.trials_to_come else find_best(self.trials)

    @property
    def is_open(self) -> bool:
        """Whether the choice has still to be made."""
        return self.chosen is None

    @property
    def runs(self) -> Iterator[R]:
        """The runs of its trials at all budgets."""
        for trial in self.trials:
            for each in trial.at_all_budgets:
                yield from each.runs

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest run of its trials."""
        return max(run.mark.tokens for trial in self.trials for run in trial.runs)

    @property
    def runs_to_come(self) -> int:
        """Runs of the trials to come."""
        first = self.trials[0]
        return self.trials_to_come * len(first.runs) * len(first.at_all_budgets)

    @property
    def max_tokens_to_come(self) -> int:
        """Tokens of the trials to come, at most."""
        longest = max(trial.max_own_tokens for trial in self.trials)
        return self.trials_to_come * len(self.trials[0].runs) * longest

    @property
    def tried_peaks(self) -> list[float]:
        """The rates that were tried with the options of the chosen trial, in rising order."""
        chosen = self.chosen
        return sorted(losses_by_peak(self.trials, chosen)) if chosen else []

    @property
    def is_at_edge(self) -> bool:
        """Whether the chosen rate is the lowest or the highest of several that were tried."""
        peaks = self.tried_peaks
        return len(peaks) > 1 and self.chosen is not None and self.chosen.peak in (peaks[0], peaks[-1])

    def convert(self, to: Callable[[R], S]) -> "ArmTrials[S]":
        """The same trials with other values for the runs."""
        return ArmTrials(
            arm=self.arm,
            option_names=self.option_names,
            fixed_depth=self.fixed_depth,
            trials=tuple(trial.convert(to) for trial in self.trials),
            trials_to_come=self.trials_to_come,
        )

    def options(self, trial: Trial[R]) -> dict[str, Any]:
        """The values of a trial for the options that are tuned."""
        return {name: trial.arm.options[name] for name in self.option_names}


class BestDepthAt(NamedTuple):
    """The constant depth that trials found to be the best at a budget, in exact FLOPs: the name of its arm."""

    budget_flops: int
    arm: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices(Generic[R]):
    """What the trials of a study have chosen so far.

    Attributes:
        study: the study with the rates and options that are chosen, and with an arm for each of `best_depths`.
        arms: the trials of every arm and every depth.
        best_depths: the best constant depth at each budget of the trials, from small to large; empty while they
            are open, or if the study compares no depths.
        budget_flops: FLOPs of a run of a trial.
    """

    study: Study
    arms: tuple[ArmTrials[R], ...] = ()
    best_depths: tuple[BestDepthAt, ...] = ()
    budget_flops: int = 0

    @property
    def trials(self) -> Iterator[Trial[R]]:
        """Every trial at every budget."""
        for arm in self.arms:
            for trial in arm.trials:
                yield from trial.at_all_budgets

    @property
    def runs(self) -> Iterator[tuple[Trial[R], R]]:
        """Every run of every trial."""
        for trial in self.trials:
            yield from ((trial, run) for run in trial.runs)

    @property
    def open_runs(self) -> Iterator[R]:
        """The runs of trials that are not trained yet."""
        return self._runs_with(None)

    @property
    def given_up(self) -> Iterator[R]:
        """The runs of trials that diverged."""
        return self._runs_with(math.inf)

    def _runs_with(self, loss: float | None) -> Iterator[R]:
        for trial in self.trials:
            yield from (run for run, found in zip(trial.runs, trial.losses, strict=True) if found == loss)

    @property
    def runs_to_come(self) -> int:
        """Runs of the trials that follow from the losses of those that are compiled."""
        return sum(each.runs_to_come for each in self.arms)

    @property
    def max_tokens_to_come(self) -> int:
        """Tokens of the runs to come, at most."""
        return sum(each.max_tokens_to_come for each in self.arms)

    @property
    def max_flops_to_come(self) -> int:
        """FLOPs of the runs to come, at most: a longest run of any arm costs the budget of a trial."""
        return sum(round(self.budget_flops * each.max_tokens_to_come / each.max_tokens) for each in self.arms)

    @property
    def max_depth_ratio(self) -> float:
        """Tokens of the longest trial of a fixed depth ÷ those of the shortest, the full depth."""
        tokens = [each.max_tokens for each in self.arms if each.fixed_depth is not None]
        return max(tokens) / min(tokens) if tokens else 0.0

    @property
    def is_open(self) -> bool:
        """Whether a choice has still to be made. The study's own runs wait until all are made."""
        return any(each.is_open for each in self.arms)

    @property
    def max_depths_to_come(self) -> int:
        """Constant depths that will be measured like the baseline, at most: one for each budget of the trials.

        An arm of the study that is one of them needs its other budgets, too, if it is the best at the largest.
        """
        candidates = [each for each in self.arms if each.fixed_depth is not None]
        if self.best_depths or not candidates:
            return 0
        own = {arm.name for arm in self.study.arms}
        new = sum(each.arm.name not in own for each in candidates)
        is_arm = any(each.arm.name in own - {self.study.baseline} for each in candidates)
        return min(new + is_arm, len(candidates[0].trials[0].at_all_budgets))

    @property
    def best_fixed_depth(self) -> str:
        """The name of the arm with the best constant depth at the budget of the trials; empty while it is open."""
        return self.best_depths[-1].arm if self.best_depths else ""

    def convert(self, to: Callable[[R], S]) -> "Choices[S]":
        """The same choices with other values for the runs."""
        return Choices(
            study=self.study,
            arms=tuple(each.convert(to) for each in self.arms),
            best_depths=self.best_depths,
            budget_flops=self.budget_flops,
        )


def find_best(trials: Sequence[Trial[R]]) -> Trial[R] | None:
    """The trial with the lowest loss, the earliest of equal ones; None while one is not trained."""
    if not all(trial.is_finished for trial in trials):
        return None
    return min(trials, key=loss_or_infinity)


def loss_or_infinity(trial: Trial[R]) -> float:
    """The loss of a trial; infinity until it is trained."""
    return math.inf if trial.loss is None else trial.loss


def losses_by_peak(trials: Sequence[Trial[R]], like: Trial[R]) -> dict[float, float]:
    """The losses of the trials with the options of one of them, by their peak rates."""
    alike = [trial for trial in trials if trial.arm.options == like.arm.options]
    return {trial.peak: trial.loss for trial in alike if trial.loss is not None}
