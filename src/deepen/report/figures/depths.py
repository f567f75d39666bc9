"""Loss against depth at equal compute: constant depths, and the arms that grow among them.

A constant depth is drawn at its depth, an arm that grows at its mean depth over its tokens:

    depth 6     6 blocks for all 90 tokens                      at depth 6
    one-shot    6 blocks for 35 tokens, then 12 for 35          at depth 9

If an arm that grows lies below the lowest constant depth, it was not only its smaller size that helped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deepen.report.figures.strips import find_phases
from deepen.report.style import UNKNOWN_COLOUR
from deepen.report.summary.study_summary import ArmSummary, StudySummary
from deepen.study.results.phases import PhaseResult
from deepen.study.results.tuning import TunedArm

MIN_DEPTHS = 2
"""Minimum number of constant depths for which losses are drawn against depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthPoint:
    """An arm at equal compute.

    Attributes:
        arm: its name.
        colour: its colour.
        depth: its depth; of an arm that grows, the mean over its tokens.
        is_fixed: whether its depth is constant.
        loss: validation loss in nats per token, mean over seeds.
        low, high: the joint interval of the difference from the baseline, around the loss; None without one.
    """

    arm: str
    colour: str
    depth: float
    is_fixed: bool
    loss: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Depths:
    """The points of a study, in the order of depth: those of its own seeds, and of the seeds of trials.

    `best` is the name of the constant depth with the lowest loss on the seeds of trials; empty without trials.
    """

    measured: tuple[DepthPoint, ...]
    tuned: tuple[DepthPoint, ...]
    best: str

    @property
    def is_drawn(self) -> bool:
        """Whether there are enough constant depths."""
        fixed = {point.depth for point in (*self.measured, *self.tuned) if point.is_fixed}
        return len(fixed) >= MIN_DEPTHS

    @property
    def reference(self) -> DepthPoint | None:
        """The best constant depth, with the study's own seeds where it was trained with them."""
        measured = [point for point in self.measured if point.is_fixed]
        tuned = [point for point in self.tuned if point.is_fixed]
        if not self.best:
            return min(measured or tuned, key=lambda point: point.loss, default=None)
        return next((point for point in (*measured, *tuned) if point.arm == self.best), None)


def collect_depths(study: StudySummary) -> Depths:
    """The losses of a study by depth."""
    measured = [point for arm in study.arms if (point := _measure(study, arm))]
    trials = study.tuning.arms if study.tuning else ()
    tuned = [point for arm in trials if (point := _read_trials(study, arm))]
    return Depths(measured=_sorted(measured), tuned=_sorted(tuned), best=study.best_fixed_depth)


def _sorted(points: Sequence[DepthPoint]) -> tuple[DepthPoint, ...]:
    return tuple(sorted(points, key=lambda point: point.depth))


def _measure(study: StudySummary, arm: ArmSummary) -> DepthPoint | None:
    """An arm with the study's own seeds; None if it has not reached equal compute."""
    mark, phases = arm.mark_at_equal_compute, find_phases(arm)
    if mark is None or mark.val is None or not phases:
        return None
    base = study.baseline_mark
    verdict = next((v for v in study.exact_verdicts if v.arm == arm.name), None)
    low, high = verdict.interval if verdict and verdict.interval else (None, None)
    centre = base.val.mean if base and base.val else None
    return DepthPoint(
        arm=arm.name,
        colour=arm.colour,
        depth=_mean_depth(phases),
        is_fixed=_is_constant(phases),
        loss=mark.val.mean,
        low=None if low is None or centre is None else centre + low,
        high=None if high is None or centre is None else centre + high,
    )


def _read_trials(study: StudySummary, tuned: TunedArm) -> DepthPoint | None:
    """An arm at its chosen trial, or else its best so far; None if no trial is finished."""
    losses = [trial.loss for trial in tuned.trials if trial.loss is not None]
    chosen = tuned.chosen.loss if tuned.chosen is not None else min(losses, default=None)
    arm = study.find_arm(tuned.name)
    phases = find_phases(arm) if arm else ()
    depth = _mean_depth(phases) if phases and not tuned.is_fixed_depth else tuned.depth
    if chosen is None or depth is None:
        return None
    return DepthPoint(
        arm=tuned.name,
        colour=arm.colour if arm else UNKNOWN_COLOUR,
        depth=depth,
        is_fixed=tuned.is_fixed_depth,
        loss=chosen,
    )


def find_constant_depth(arm: ArmSummary) -> int | None:
    """The depth of an arm that has the same from the start to the end, and trains all of it; None of any other."""
    phases = find_phases(arm)
    return phases[0].depth if phases and _is_constant(phases) else None


def _mean_depth(phases: Sequence[PhaseResult]) -> float:
    """The executed layers, averaged over the tokens."""
    tokens = sum(phase.tokens for phase in phases)
    return sum(phase.depth * phase.tokens for phase in phases) / tokens if tokens else phases[-1].depth


def _is_constant(phases: Sequence[PhaseResult]) -> bool:
    """Whether the same layers are executed all the time, each with a block of its own, and every block trained."""
    first = phases[0]
    return all(
        phase.depth == phase.blocks == first.depth and len(phase.trained_layers) in (0, phase.depth)
        for phase in phases
    )
