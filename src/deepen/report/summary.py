"""The results of a study averaged over seeds, for the page and the figures.

The results have one entry per arm and seed; the summary has one per arm, with a colour:

    results   one-shot seed 0: loss 4.10 at 64 tokens     one-shot seed 1: loss 4.20 at 64 tokens
    summary   one-shot: SeedRange(mean=4.15, low=4.10, high=4.20) at 64 tokens
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from deepen.report.averages import (
    AveragedMark,
    AveragedPoint,
    AveragedScore,
    average_curve,
    average_marks,
    average_tasks,
    mean,
)
from deepen.report.decided_growth import describe_decided_growths
from deepen.report.excess import ArmExcess, summarize_excess
from deepen.report.style import BASELINE_COLOUR, COLOURS, DASHES
from deepen.report.units import MAX_NAME_LENGTH, cut
from deepen.study.results.phases import PhaseResult
from deepen.study.results.regime import Regime
from deepen.study.results.schema import (
    ArmResult,
    Noise,
    Results,
    Sharing,
    Verdict,
)

MAX_SENTENCE_LENGTH = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """An arm with one seed. `trained_share`: the share of its compute that is trained; None in old files."""

    seed: int
    phases: tuple[PhaseResult, ...]
    curve: tuple[AveragedPoint, ...]
    trained_share: float | None

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
    excess: tuple[ArmExcess, ...]
    decided_growths: tuple[str, ...]
    sharing: Sharing
    trained_share: float | None

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

    @property
    def is_single_arm(self) -> bool:
        """Whether there is only the baseline, so that nothing is compared."""
        return [arm.is_baseline for arm in self.arms] == [True] and not self.verdicts

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
        excess=summarize_excess(results),
        decided_growths=tuple(
            sentence for name, seeds in seeds_by_name.items() for sentence in describe_decided_growths(name, seeds)
        ),
        sharing=results.sharing,
        trained_share=results.trained_share,
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
            )
            for arm in seeds
        ),
        curve=curve,
        marks=average_marks([mark for arm in seeds for mark in arm.marks]),
        tasks=average_tasks([result for arm in seeds for result in arm.tasks]),
        peak_memory_bytes=max(peaks, default=None),
    )


def _describe_own_rate(arm: ArmResult) -> str:
    if not arm.has_own_rate or arm.peak_lr is None:
        return ""
    return f"{cut(arm.rate, MAX_NAME_LENGTH)}, peak {arm.peak_lr:g}"
