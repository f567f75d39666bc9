"""The results of a study averaged over seeds, for the page and the figures.

The results have one entry per arm and seed; the summary has one per arm, with a colour:

    results   one-shot seed 0: loss 4.10 at 64 tokens     one-shot seed 1: loss 4.20 at 64 tokens
    summary   one-shot: SeedRange(mean=4.15, low=4.10, high=4.20) at 64 tokens
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from deepen.compute.accounting import AtBudget
from deepen.report.style import BASELINE_COLOUR, COLOURS, DASHES
from deepen.report.units import cut
from deepen.study.results.schema import (
    ArmResult,
    CurvePoint,
    MarkResult,
    Noise,
    Regime,
    Results,
    Sharing,
    TaskResult,
    Verdict,
)

MAX_NAME_LENGTH = 60
MAX_SENTENCE_LENGTH = 600


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
        """The position on an axis: tokens, flops or seconds."""
        return {"tokens": self.tokens, "flops": self.flops, "seconds": self.seconds}[axis]

    def loss(self, kind: str) -> SeedRange | None:
        """The validation loss (`val`) or the training loss (`train`)."""
        return {"val": self.val, "train": self.train}[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragedMark(AtBudget, AveragedPoint):
    """An arm at a given budget."""

    accounting: str
    budget_share: float | None
    annealed: bool
    n_seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragedScore:
    """An arm's score on a task at a step; `stderr` is the standard error over examples, averaged over seeds."""

    step: float
    value: float
    stderr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """All seeds of an arm.

    `depth` is its depth at the end of its curve, `own_rate` its learning rate if it is not the regime's.
    """

    name: str
    colour: str
    dash: str
    is_baseline: bool
    is_control: bool
    own_rate: str
    depth: int | None
    seeds: tuple[int, ...]
    curve: tuple[AveragedPoint, ...]
    marks: tuple[AveragedMark, ...]
    tasks: Mapping[str, tuple[AveragedScore, ...]]
    peak_memory_bytes: float | None

    @property
    def mark_at_equal_compute(self) -> AveragedMark | None:
        """The mark at the baseline's whole budget in exact FLOPs; None if it is not trained."""
        return next((m for m in self.marks if m.is_exact and m.is_whole_budget), None)


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """Everything that the page and the figures show; the baseline is the first arm."""

    name: str
    version: str
    regime: Regime
    noise: Noise
    arms: tuple[ArmSummary, ...]
    verdicts: tuple[Verdict, ...]
    sharing: Sharing

    def find_arm(self, name: str) -> ArmSummary | None:
        """The arm with this name; None if it is not among the results."""
        return next((arm for arm in self.arms if arm.name == name), None)

    @cached_property
    def baseline(self) -> ArmSummary | None:
        """The baseline; None if it is not among the results."""
        return next((arm for arm in self.arms if arm.is_baseline), None)

    @cached_property
    def baseline_mark(self) -> AveragedMark | None:
        """The baseline at its whole budget; None if it is not trained."""
        return self.baseline.mark_at_equal_compute if self.baseline else None

    @cached_property
    def task_names(self) -> tuple[str, ...]:
        """The tasks that any arm was evaluated on, in the order of the results."""
        return tuple(dict.fromkeys(task for arm in self.arms for task in arm.tasks))


def summarize(results: Results) -> StudySummary:
    """Average the results of a study over seeds; long names and sentences are shortened."""
    seeds_by_name: dict[str, list[ArmResult]] = {}
    for arm in results.arms:
        seeds_by_name.setdefault(_shown_name(arm.name), []).append(arm)
    baseline = _shown_name(results.baseline)
    others = [name for name in seeds_by_name if name != baseline]
    arms = [_summarize_other(name, seeds_by_name[name], rank) for rank, name in enumerate(others)]
    if baseline in seeds_by_name:
        seeds = seeds_by_name[baseline]
        arms.insert(0, _summarize_arm(baseline, seeds, BASELINE_COLOUR, "solid", is_baseline=True))
    return StudySummary(
        name=cut(results.study, MAX_NAME_LENGTH) if results.study else "study",
        version=cut(results.deepen_version, MAX_NAME_LENGTH),
        regime=results.regime,
        noise=results.noise,
        arms=tuple(arms),
        verdicts=tuple(
            replace(
                verdict,
                arm=_shown_name(verdict.arm),
                accounting=cut(verdict.accounting, MAX_NAME_LENGTH),
                sentence=cut(verdict.sentence, MAX_SENTENCE_LENGTH),
            )
            for verdict in results.verdicts
        ),
        sharing=results.sharing,
    )


def _shown_name(name: str) -> str:
    return cut(name, MAX_NAME_LENGTH) if name else "unnamed"


def _summarize_other(name: str, seeds: Sequence[ArmResult], rank: int) -> ArmSummary:
    """Summarize an arm other than the baseline; `rank` chooses its colour and dash."""
    colour, dash = COLOURS[rank % len(COLOURS)], DASHES[rank // len(COLOURS) % len(DASHES)]
    return _summarize_arm(name, seeds, colour, dash, is_baseline=False)


def _summarize_arm(
    name: str, seeds: Sequence[ArmResult], colour: str, dash: str, *, is_baseline: bool
) -> ArmSummary:
    curve = _average_curve([arm.curve for arm in seeds if arm.curve])
    peaks = [float(arm.peak_memory_bytes) for arm in seeds if arm.peak_memory_bytes is not None]
    return ArmSummary(
        name=name,
        colour=colour,
        dash=dash,
        is_baseline=is_baseline,
        is_control=seeds[0].is_control,
        own_rate=_describe_own_rate(seeds[0]),
        depth=curve[-1].depth if curve else None,
        seeds=tuple(arm.seed for arm in seeds),
        curve=curve,
        marks=_average_marks([mark for arm in seeds for mark in arm.marks]),
        tasks=_average_tasks([result for arm in seeds for result in arm.tasks]),
        peak_memory_bytes=max(peaks, default=None),
    )


def _describe_own_rate(arm: ArmResult) -> str:
    if not arm.has_own_rate or arm.peak_lr is None:
        return ""
    return f"{cut(arm.rate, MAX_NAME_LENGTH)}, peak {arm.peak_lr:g}"


def _average_curve(curves: Sequence[Sequence[CurvePoint]]) -> tuple[AveragedPoint, ...]:
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
        step=_mean(point.step for point in seeds),
        val=_seed_range(point.val_loss for point in seeds),
        train=_seed_range(point.train_loss for point in seeds),
        depth=seeds[0].depth,
        phase=cut(seeds[0].phase, MAX_NAME_LENGTH),
    )


def _average_marks(marks: Sequence[MarkResult]) -> tuple[AveragedMark, ...]:
    groups: dict[tuple[str, float | None], list[MarkResult]] = {}
    for mark in marks:
        groups.setdefault((mark.accounting, mark.budget_share), []).append(mark)
    return tuple(
        AveragedMark(
            tokens=fmean(mark.tokens for mark in seeds),
            flops=fmean(mark.flops for mark in seeds),
            seconds=fmean(mark.seconds for mark in seeds),
            step=_mean(mark.step for mark in seeds),
            val=_seed_range(mark.val_loss for mark in seeds),
            train=_seed_range(mark.train_loss for mark in seeds),
            accounting=accounting,
            budget_share=share,
            annealed=all(mark.annealed for mark in seeds),
            n_seeds=len(seeds),
        )
        for (accounting, share), seeds in groups.items()
    )


def _average_tasks(results: Iterable[TaskResult]) -> dict[str, tuple[AveragedScore, ...]]:
    by_task: dict[str, dict[int, list[TaskResult]]] = {}
    for result in results:
        if result.task and result.step is not None and result.value is not None:
            task = cut(result.task, MAX_NAME_LENGTH)
            by_task.setdefault(task, {}).setdefault(result.step, []).append(result)
    return {
        task: tuple(
            AveragedScore(
                step=step,
                value=fmean(result.value for result in seeds if result.value is not None),
                stderr=_mean(result.stderr for result in seeds),
            )
            for step, seeds in sorted(by_step.items())
        )
        for task, by_step in by_task.items()
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _seed_range(values: Iterable[float | None]) -> SeedRange | None:
    known = [float(value) for value in values if value is not None]
    return SeedRange(fmean(known), min(known), max(known)) if known else None
