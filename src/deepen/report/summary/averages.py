"""Points, marks and scores, averaged over seeds; each loss keeps the range over seeds (see `report.summary`)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from deepen.compute.accounting import AtBudget
from deepen.report.units import MAX_NAME_LENGTH, cut
from deepen.study.results.schema import CurvePoint, MarkResult, TaskResult
from deepen.study.results.validation_text import mean_of_part


@dataclass(frozen=True, slots=True)
class SeedRange:
    """A value over seeds: mean, smallest and largest."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragedPoint:
    """A validation of an arm; losses in nats per token."""

    tokens: float
    flops: float
    seconds: float
    step: float | None
    val: SeedRange | None
    train: SeedRange | None
    depth: int | None = None
    phase: str = ""

    def at(self, axis: str) -> float:
        """The position on an axis: tokens, flops, seconds or step, which is NaN where it is unknown."""
        step = math.nan if self.step is None else self.step
        return {"tokens": self.tokens, "flops": self.flops, "seconds": self.seconds, "step": step}[axis]

    def loss(self, kind: str) -> SeedRange | None:
        """The validation loss (`val`) or the training loss (`train`)."""
        return {"val": self.val, "train": self.train}[kind]

    def drawn_loss(self, kind: str) -> SeedRange | None:
        """The loss as a chart of curves shows it: on the text of the curves, where that is known."""
        return self.loss(kind)

    def mean_loss(self, kind: str) -> float | None:
        """The mean over seeds of a loss as a chart shows it; None if it was not measured."""
        loss = self.drawn_loss(kind)
        return None if loss is None else loss.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragedScore:
    """An arm's score on a task at a step; `stderr` is the standard error over examples, averaged over seeds."""

    step: float
    value: float
    stderr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragedMark(AtBudget, AveragedPoint):
    """An arm at a given budget.

    `val` is the loss on the whole text of marks, `curve_val` that on its beginning, on which the points of the
    curves are measured; None if it is unknown, or both texts are the same.
    """

    accounting: str
    budget_share: float | None
    annealed: bool
    n_seeds: int
    tasks: Mapping[str, AveragedScore]
    curve_val: SeedRange | None = None

    def drawn_loss(self, kind: str) -> SeedRange | None:
        """The loss on the text of the curves, where that is known; else on the text of marks."""
        return self.curve_val if kind == "val" and self.curve_val else self.loss(kind)


def average_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[AveragedPoint, ...]:
    """The mean over seeds at the tokens that all seeds have in common, so that no seed joins or drops out midway.

    If they have none in common, the curve shows the first seed instead of nothing.
    """
    if not curves:
        return ()
    by_tokens = [{point.tokens: point for point in curve} for curve in curves]
    shared = set.intersection(*(set(points) for points in by_tokens))
    if not shared:
        by_tokens, shared = by_tokens[:1], set(by_tokens[0])
    return tuple(_average_point([points[tokens] for points in by_tokens]) for tokens in sorted(shared))


def _average_point(seeds: Sequence[CurvePoint]) -> AveragedPoint:
    return AveragedPoint(
        tokens=fmean(point.tokens for point in seeds),
        flops=fmean(point.flops for point in seeds),
        seconds=fmean(point.seconds for point in seeds),
        step=mean(point.step for point in seeds),
        val=_seed_range(point.val_loss for point in seeds),
        train=_seed_range(point.train_loss for point in seeds),
        depth=seeds[0].depth,
        phase=cut(seeds[0].phase, MAX_NAME_LENGTH),
    )


def average_marks(marks: Sequence[MarkResult], curve_windows: int) -> tuple[AveragedMark, ...]:
    """The marks of all seeds, one per accounting and budget.

    Args:
        marks: the marks.
        curve_windows: windows of validation text at the points of the curves, the first of those at the marks; 0
            if both are the same text, or it is unknown.
    """
    groups: dict[tuple[str, float | None], list[MarkResult]] = {}
    for mark in marks:
        groups.setdefault((mark.accounting, mark.budget_share), []).append(mark)
    return tuple(
        AveragedMark(
            tokens=fmean(mark.tokens for mark in seeds),
            flops=fmean(mark.flops for mark in seeds),
            seconds=fmean(mark.seconds for mark in seeds),
            step=mean(mark.step for mark in seeds),
            val=_seed_range(mark.val_loss for mark in seeds),
            train=_seed_range(mark.train_loss for mark in seeds),
            accounting=accounting,
            budget_share=share,
            annealed=all(mark.annealed for mark in seeds),
            n_seeds=len(seeds),
            tasks=_average_scores_at_mark(seeds),
            curve_val=_average_on_curve_text(seeds, curve_windows),
        )
        for (accounting, share), seeds in groups.items()
    )


def _average_on_curve_text(seeds: Sequence[MarkResult], windows: int) -> SeedRange | None:
    """The losses on the beginning of the text; None if it is unknown."""
    return _seed_range(mean_of_part(mark.val_blocks, windows) for mark in seeds)


def _average_scores_at_mark(seeds: Sequence[MarkResult]) -> dict[str, AveragedScore]:
    """The scores at a mark, of the seeds that have them."""
    averaged = {}
    for task in dict.fromkeys(task for mark in seeds for task in mark.tasks):
        scores = [(mark.step, mark.tasks[task]) for mark in seeds if task in mark.tasks]
        step, value = mean(step for step, _ in scores), mean(score.value for _, score in scores)
        if step is not None and value is not None:
            stderr = mean(score.stderr for _, score in scores)
            averaged[task] = AveragedScore(step=step, value=value, stderr=stderr)
    return averaged


def average_tasks(results: Iterable[TaskResult]) -> dict[str, tuple[AveragedScore, ...]]:
    """The scores of all seeds, by task and in the order of steps."""
    by_task: dict[str, dict[int, list[TaskResult]]] = {}
    for result in results:
        if result.task and result.step is not None and result.value is not None:
            by_task.setdefault(result.task, {}).setdefault(result.step, []).append(result)
    return {
        task: tuple(
            AveragedScore(
                step=step,
                value=fmean(result.value for result in seeds if result.value is not None),
                stderr=mean(result.stderr for result in seeds),
            )
            for step, seeds in sorted(by_step.items())
        )
        for task, by_step in by_task.items()
    }


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the known values; None if there are none."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _seed_range(values: Iterable[float | None]) -> SeedRange | None:
    known = [float(value) for value in values if value is not None]
    return SeedRange(fmean(known), min(known), max(known)) if known else None
