"""An arm of a study averaged over its seeds (see `report.summary`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from deepen.report.summary.averages import (
    AveragedMark,
    AveragedPoint,
    AveragedScore,
    average_curve,
    average_marks,
    average_tasks,
    mean,
)
from deepen.report.units import MAX_NAME_LENGTH, cut
from deepen.study.results.phases import PhaseResult
from deepen.study.results.schema import ArmResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """An arm with one seed.

    `trained_share`: the share of its compute that is trained; None in old files. `loss_at_equal_compute`: its
    validation loss at the baseline's whole budget in exact FLOPs; None if it is not trained.
    """

    seed: int
    phases: tuple[PhaseResult, ...]
    curve: tuple[AveragedPoint, ...]
    trained_share: float | None
    loss_at_equal_compute: float | None

    @property
    def is_unfinished(self) -> bool:
        """Whether a part of its compute is not trained."""
        return self.trained_share is not None and self.trained_share < 1

    def last_loss(self, kind: str) -> float | None:
        """The last validation loss (`val`) or training loss (`train`)."""
        losses = [loss for point in self.curve if (loss := point.loss(kind))]
        return losses[-1].mean if losses else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """All seeds of an arm.

    `curve` is their mean as far as all have got, `depth` the depth at its end, `own_rate` the arm's learning rate
    if it is not the regime's, `grown_at_lr_share` the lowest learning rate at a growth as a share of its peak, if
    a growth came after the decay had begun.
    """

    name: str
    colour: str
    dash: str
    is_baseline: bool
    is_control: bool
    own_rate: str
    grown_at_lr_share: float | None
    depth: int | None
    runs: tuple[SeedRun, ...]
    curve: tuple[AveragedPoint, ...]
    marks: tuple[AveragedMark, ...]
    tasks: Mapping[str, tuple[AveragedScore, ...]]
    peak_memory_bytes: float | None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def trained_share(self) -> float | None:
        """The share of its compute that is trained, over all seeds; None in old files."""
        return mean(run.trained_share for run in self.runs)

    @property
    def tails(self) -> tuple[tuple[AveragedPoint, ...], ...]:
        """The curves of single seeds from where not all seeds have got as far."""
        shared = self.curve[-1].tokens if self.curve else 0
        curves = [tuple(point for point in run.curve if point.tokens >= shared) for run in self.runs]
        return tuple(curve for curve in curves if len(curve) > 1 and len(self.runs) > 1)

    def ends(self, kind: str) -> list[AveragedPoint]:
        """The points where the loss (`val` or `train`) of unfinished seeds was last measured."""
        measured = [[point for point in run.curve if point.loss(kind)] for run in self.runs if run.is_unfinished]
        return [curve[-1] for curve in measured if curve]

    @property
    def losses_at_equal_compute(self) -> dict[int, float]:
        """The validation loss of each seed at the baseline's whole budget in exact FLOPs, if it is trained."""
        losses = {run.seed: run.loss_at_equal_compute for run in self.runs}
        return {seed: loss for seed, loss in losses.items() if loss is not None}

    @property
    def mark_at_equal_compute(self) -> AveragedMark | None:
        """The mark at the baseline's whole budget in exact FLOPs; None if it is not trained."""
        return next((m for m in self.marks if m.is_exact and m.is_whole_budget), None)


def summarize_arm(
    name: str,
    seeds: Sequence[ArmResult],
    colour: str,
    dash: str,
    *,
    is_baseline: bool,
    curve_windows: int = 0,
) -> ArmSummary:
    """Average all seeds of an arm.

    Args:
        name: its name, as it is shown.
        seeds: the arm with each seed.
        colour, dash: how its lines are drawn.
        is_baseline: whether the others are compared with it.
        curve_windows: as in `average_marks`.
    """
    curve = average_curve([arm.curve for arm in seeds if arm.curve])
    peaks = [float(arm.peak_memory_bytes) for arm in seeds if arm.peak_memory_bytes is not None]
    return ArmSummary(
        name=name,
        colour=colour,
        dash=dash,
        is_baseline=is_baseline,
        is_control=seeds[0].is_control,
        own_rate=_describe_own_rate(seeds[0]),
        grown_at_lr_share=min(
            (g.decayed_to for arm in seeds for g in arm.growths if g.decayed_to is not None), default=None
        ),
        depth=curve[-1].depth if curve else None,
        runs=tuple(
            SeedRun(
                seed=arm.seed,
                phases=arm.phases,
                curve=average_curve([arm.curve]),
                trained_share=arm.trained_share,
                loss_at_equal_compute=next(
                    (mark.val_loss for mark in arm.marks if mark.is_exact and mark.is_whole_budget), None
                ),
            )
            for arm in seeds
        ),
        curve=curve,
        marks=average_marks([mark for arm in seeds for mark in arm.marks], curve_windows),
        tasks=average_tasks([result for arm in seeds for result in arm.tasks]),
        peak_memory_bytes=max(peaks, default=None),
    )


def with_steps(arm: ArmResult, batch_tokens: int | None) -> ArmResult:
    """An arm with the steps of its curve, which older published results lack; unless its batch grows."""
    if arm.batch_ramp or not batch_tokens or batch_tokens < 0:
        return arm
    curve = (
        replace(point, step=round(point.tokens / batch_tokens)) if point.step is None else point
        for point in arm.curve
    )
    return replace(arm, curve=tuple(curve))


def _describe_own_rate(arm: ArmResult) -> str:
    if not arm.has_own_rate or arm.peak_lr is None:
        return ""
    return f"{cut(arm.rate, MAX_NAME_LENGTH)}, peak {arm.peak_lr:g}"
