"""The records of verdicts in results.json: what an arm's comparison with a baseline found, and the noise.

docs/statistics.md has the procedure behind every number. All fields may be missing in files of older versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from deepen.compute.accounting import EXACT_FLOPS, AtBudget
from deepen.study.results.records import Record, read_record

Interval = tuple[float, float]

CONFIDENCE = 0.95
"""The confidence of the joint intervals, with one look."""


class Outcome(StrEnum):
    """The outcome for an arm, compared with the baseline at equal compute."""

    WINS = "wins"
    LOSES = "loses"
    CANNOT_TELL = "cannot tell"


class Bound(StrEnum):
    """The side of a number on which the true value lies, if the number is only a bound."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise(Record):
    """Variation of the loss beyond what a seed does to all runs alike, in nats per token (docs/statistics.md).

    Attributes:
        arms_std, arms_df: standard deviation of the arms' own noise, for one run, and its degrees of freedom.
        baseline_std, baseline_df: the same for the baseline, over its budgets.
        shared_std, shared_df: standard deviation over seeds of the mean difference between arms and baseline.
        text_std: standard error of a difference that comes from the choice of the validation text; None if the
            losses of windows are unknown.
        stderr: standard error of a mean difference from the baseline at the study's budget.
        degrees_of_freedom: of `stderr`, by Satterthwaite's formula; in old files, of `residual_std`.
        correlation: between two differences, which share the baseline.
        critical_value: of the joint intervals: their half width ÷ the standard error.
        confidence: with which all intervals hold together, such as 0.95.
        arms: number of arms, and of joint intervals, at the study's budget.
        seeds: number of seeds.
        budgets: number of the baseline's budgets from which its noise is measured.
        slope: by how much the baseline's loss falls per e-fold of compute, at the study's budget.
        unequal_p: p-value of the F test that the baseline is as noisy as the arms.
        half_width: half width of the joint interval of an arm's difference from the baseline.
        arm_half_width: half width of the interval of the difference between two arms.
        detectable_multiplier: the smallest true multiplier that this study detects with probability 0.8.
        baseline_seed_std: standard deviation of the baseline's loss over seeds; in old files only.
        residual_std: standard deviation over arms and seeds without their means; in old files only.
    """

    arms_std: float | None
    arms_df: int | None
    baseline_std: float | None
    baseline_df: int | None
    shared_std: float | None
    shared_df: int | None
    text_std: float | None
    stderr: float | None
    degrees_of_freedom: float
    correlation: float | None
    critical_value: float | None
    confidence: float | None
    arms: int
    seeds: int
    budgets: int
    slope: float | None
    unequal_p: float | None
    half_width: float | None
    arm_half_width: float | None
    detectable_multiplier: float | None
    baseline_seed_std: float | None
    residual_std: float | None


NO_NOISE = Noise.from_json({})
"""The noise of a study in which nothing is compared yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskComparison(Record):
    """An arm's accuracy minus the baseline's for one seed, with McNemar's exact p-value."""

    seed: int
    difference: float | None
    mcnemar_p: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskTest(Record):
    """An arm's accuracy minus the baseline's over all seeds.

    Attributes:
        difference: mean over seeds.
        p: exact p-value of McNemar's test over seeds.
        p_holm: the same, corrected for all arms and tasks that are compared at the same budget.
    """

    difference: float | None
    p: float | None
    p_holm: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict(AtBudget, Record):
    """The comparison of an arm with the baseline at one of its marks. Losses are in nats per token.

    Attributes:
        arm: name of the arm.
        baseline: name of the arm that it is compared with.
        accounting, budget_share, budget_flops: the mark.
        n_seeds: number of paired seeds.
        seeds: the seeds.
        loss: the arm's loss, mean over seeds.
        difference: the arm's loss minus the baseline's, mean over seeds.
        differences: the same for each of `seeds`.
        stderr: standard error of `difference`.
        degrees_of_freedom: of `stderr`.
        confidence: with which the joint intervals hold.
        interval: the joint interval: those of all arms at this budget, in exact FLOPs, hold together.
        interval_alone: the interval of this arm alone.
        interval_own_seeds: the interval from this arm's own paired differences alone.
        compute_multiplier: the compute that the baseline needs for the arm's loss ÷ the compute that the arm used.
        multiplier_interval: its joint interval. Ends beyond the measured budgets are cut there.
        multiplier_interval_bounds: for each end that is cut, the side on which the true end lies.
        multiplier_bound: the side on which the true value lies where `compute_multiplier` is only a bound: an
            end of its interval, where the arm's loss is outside those of the baseline's budgets.
        multiplier_withheld: why no multiplier is claimed; empty where one is.
        seconds_multiplier: `compute_multiplier` in measured seconds instead of FLOPs.
        seconds_multiplier_interval: its joint interval, with the bounds of `multiplier_interval_bounds`.
        tokens, flops, seconds: what the arm has used.
        peak_memory_bytes: the largest over seeds.
        tasks: tasks compared for each seed.
        task_tests: tasks compared over all seeds.
        outcome: the outcome at equal exact FLOPs; None at other marks, which decide nothing.
        depths_beaten, depths_not_beaten: of an arm that grows, at equal exact FLOPs, the arms of constant depth
            that were measured at this budget with all seeds, by whether it wins against them.
        depths_better: those of `depths_not_beaten` against which it loses.
        depths_at_edge: those of `depths_beaten` whose chosen rate is the lowest or the highest that was tried, so
            that a better one may lie outside.
        sentence: the verdict in words.
    """

    arm: str
    baseline: str
    accounting: str = EXACT_FLOPS
    budget_share: float | None
    budget_flops: float | None
    n_seeds: int
    seeds: tuple[int, ...]
    loss: float | None
    difference: float | None
    differences: tuple[float, ...]
    stderr: float | None
    degrees_of_freedom: float | None
    confidence: float | None
    interval: Interval | None
    interval_alone: Interval | None
    interval_own_seeds: Interval | None
    compute_multiplier: float | None
    multiplier_interval: Interval | None
    multiplier_interval_bounds: tuple[Bound | None, Bound | None] | None
    multiplier_bound: Bound | None
    multiplier_withheld: str
    seconds_multiplier: float | None
    seconds_multiplier_interval: Interval | None
    tokens: int | None
    flops: float | None
    seconds: float | None
    peak_memory_bytes: int | None
    tasks: Mapping[str, tuple[TaskComparison, ...]]
    task_tests: Mapping[str, TaskTest]
    outcome: Outcome | None = Outcome.CANNOT_TELL
    depths_beaten: tuple[str, ...] = ()
    depths_not_beaten: tuple[str, ...] = ()
    depths_better: tuple[str, ...] = ()
    depths_at_edge: tuple[str, ...] = ()
    sentence: str

    @property
    def has_other_depths(self) -> bool:
        """Whether the arm was compared with arms of constant depth other than the baseline."""
        return bool({*self.depths_beaten, *self.depths_not_beaten} - {self.baseline})

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read a verdict; one without an outcome, as in files of strangers, cannot tell."""
        if isinstance(value, cls):
            return value
        verdict = read_record(cls, value)
        has_outcome = isinstance(value, Mapping) and "outcome" in value
        return verdict if has_outcome else replace(verdict, outcome=Outcome.CANNOT_TELL)
