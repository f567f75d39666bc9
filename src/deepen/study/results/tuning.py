"""The trials of a study in results.json: what was tried for every arm and every depth, and what was chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepen.study.results.records import Record

OptionValue = bool | int | float | str | tuple[int | float | str, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult(Record):
    """A trial of an arm: a peak rate and options, and the loss that its runs reached.

    `options` are those that are tuned. `loss` is the mean over the trials' seeds of the validation loss, in nats
    per token, and `losses` has that of each seed, in their order; None and empty until all of them are finished.
    `diverged`: a run's loss was not finite, so that the trial was given up; it counts as the highest loss.
    `flops` and `tokens` are those of one of its runs. `refined`: it was added beside or beyond the best of the
    earlier trials, and is not part of the grid.

    `losses_at_budgets` are the mean losses of a constant depth at the study's smaller budgets, from small to
    large; None where a run is missing or diverged.
    """

    peak: float | None
    options: Mapping[str, OptionValue]
    loss: float | None
    losses: tuple[float, ...]
    flops: float
    tokens: int
    refined: bool
    diverged: bool = False
    losses_at_budgets: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedArm(Record):
    """An arm, or a constant depth, with its trials in the order in which they were made, and the choice.

    `depth` is its depth at the end. `is_fixed_depth`: it has that depth from the start to the end, so that it is a
    candidate for the best fixed depth. `chosen_peak` is None and `chosen_options` is empty while the choice is
    open. `at_edge`: the chosen rate is the lowest or the highest of those that were tried with these options.
    `options_at_edge` names the numeric options whose chosen value is the lowest or the highest of those tried.

    `flops`, `tokens` and `seconds` are those of all its trials together as if each were a run of its own.
    """

    name: str
    recipe: str
    depth: int | None
    is_fixed_depth: bool
    trials: tuple[TrialResult, ...]
    chosen_peak: float | None
    chosen_options: Mapping[str, OptionValue]
    at_edge: bool
    options_at_edge: tuple[str, ...]
    is_best_fixed_depth: bool
    flops: float
    tokens: int
    seconds: float

    @property
    def chosen(self) -> TrialResult | None:
        """The chosen trial; None while the choice is open."""
        return next(
            (
                trial
                for trial in self.trials
                if self.chosen_peak is not None
                and trial.peak == self.chosen_peak
                and dict(trial.options) == dict(self.chosen_options)
            ),
            None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BestDepth(Record):
    """The best constant depth in trials at a budget: its arm, and the budget as a share of the study's."""

    budget_share: float
    arm: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningResult(Record):
    """All trials of a study.

    `seeds` are those of the trials, and `share` is a trial's budget as a share of the study's. `tokens` and
    `flops` are what the trials have trained so far, shared segments once; `tokens_if_separate` is the sum over
    runs. `trials_per_arm` is the number of trials that each arm and each depth gets. `best_depths` has the best
    constant depth at each budget up to that of the trials, from small to large; empty while it is open.
    """

    seeds: tuple[int, ...]
    share: float | None
    tokens: int
    flops: float
    tokens_if_separate: int
    trials_per_arm: int
    arms: tuple[TunedArm, ...]
    best_depths: tuple[BestDepth, ...] = ()
