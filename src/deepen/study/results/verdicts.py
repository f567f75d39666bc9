"""Verdicts: the comparison of every arm with the baseline at equal compute, in numbers and in a sentence.

    verdicts, noise = judge(results.arms, results.baseline)

There is one verdict per mark of an arm, if arm and baseline were measured at the mark's budget with every seed of
the baseline. They are compared seed by seed, because runs with the same seed share data order and initialization.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

from deepen.compute.accounting import EXACT_FLOPS, PAPER, TOKENS
from deepen.study.results.schema import (
    NO_NOISE,
    ArmResult,
    Bound,
    Interval,
    MarkResult,
    Noise,
    Outcome,
    Results,
    TaskComparison,
    Verdict,
)
from deepen.study.results.statistics import (
    Multiplier,
    compute_multiplier,
    mcnemar,
    own_interval,
    pooled_interval,
    seed_noise,
)


def judge(
    arms: Sequence[ArmResult] | Sequence[Mapping[str, Any]], baseline: str
) -> tuple[tuple[Verdict, ...], Noise]:
    """Compare all arms with the baseline at the budget of each of their marks.

    Args:
        arms: `Results.arms`, or the JSON value of `arms` in results.json; one entry per arm and seed.
        baseline: name of the baseline arm.

    Returns:
        The verdicts, and the seed noise on which their intervals are based.
    """
    records = [ArmResult.from_json(arm) for arm in arms]
    measured = _measure_by_seed(records, baseline)
    references = {
        key.budget_share: by_seed
        for key, by_seed in measured.items()
        if key.arm == baseline and key.accounting == EXACT_FLOPS
    }
    complete = {
        key: by_seed
        for key, by_seed in measured.items()
        if key.arm != baseline and by_seed.keys() == references.get(key.budget_share, {}).keys()
    }
    noise = _seed_noise(complete, references, baseline)
    curve = _baseline_curve([arm for arm in records if arm.name == baseline])
    verdicts = [
        _Comparison(
            key=key,
            pairs=tuple((by_seed[seed], base) for seed, base in references[key.budget_share].items()),
            noise=noise,
            baseline_curve=curve,
        ).verdict()
        for key, by_seed in complete.items()
    ]
    return tuple(verdicts), noise


def with_verdicts(results: Results) -> Results:
    """Add the verdicts and the seed noise to collected results."""
    verdicts, noise = judge(results.arms, results.baseline)
    return replace(results, verdicts=verdicts, noise=noise)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """An arm with one seed at a mark."""

    arm: ArmResult
    mark: MarkResult
    val_loss: float


class _MarkKey(NamedTuple):
    """A mark of an arm, whatever the seed; the budget is a share of the study's."""

    arm: str
    accounting: str
    budget_share: float


_BySeed = dict[int, _Measured]


def _measure_by_seed(arms: Sequence[ArmResult], baseline: str) -> dict[_MarkKey, _BySeed]:
    """The measurements at every mark.

    If marks have no `budget_share`, the study's budget is the first budget of an arm other than the baseline.
    """
    others = (mark.budget_flops for arm in arms if arm.name != baseline for mark in arm.marks)
    whole = next((budget for budget in others if budget), 1.0)
    measured: dict[_MarkKey, _BySeed] = defaultdict(dict)
    for arm in arms:
        for mark in arm.marks:
            if mark.val_loss is not None:
                share = (mark.budget_flops or whole) / whole if mark.budget_share is None else mark.budget_share
                found = _Measured(arm=arm, mark=mark, val_loss=mark.val_loss)
                measured[_MarkKey(arm.name, mark.accounting, share)][arm.seed] = found
    return measured


def _seed_noise(complete: Mapping[_MarkKey, _BySeed], references: Mapping[float, _BySeed], baseline: str) -> Noise:
    """The noise at the study's budget."""
    reference = references.get(1.0)
    if reference is None:
        return NO_NOISE
    losses = {baseline: [base.val_loss for base in reference.values()]}
    for key, by_seed in complete.items():
        if key.budget_share == 1.0 and key.accounting == EXACT_FLOPS:
            losses[key.arm] = [by_seed[seed].val_loss for seed in reference]
    return seed_noise(losses, baseline)


def _baseline_curve(seeds: Sequence[ArmResult]) -> list[tuple[float, float]]:
    """FLOPs and mean loss of the baseline: at its marks, or along its curve if no mark is annealed."""
    losses: dict[float, list[float]] = defaultdict(list)
    for arm in seeds:
        annealed = any(mark.annealed for mark in arm.marks)
        for point in arm.marks if annealed else arm.curve:
            if point.val_loss is not None:
                losses[point.flops].append(point.val_loss)
    return [(flops, fmean(reached)) for flops, reached in sorted(losses.items())]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Comparison:
    """An arm and the baseline at a mark of the arm; `pairs` has an (arm, baseline) pair per seed."""

    key: _MarkKey
    pairs: tuple[tuple[_Measured, _Measured], ...]
    noise: Noise
    baseline_curve: list[tuple[float, float]]

    def verdict(self) -> Verdict:
        """Compute the verdict."""
        differences = [arm.val_loss - base.val_loss for arm, base in self.pairs]
        difference = fmean(differences)
        interval = pooled_interval(differences, self.noise)
        base_loss = fmean(base.val_loss for _, base in self.pairs)
        multiplier = self._multiplier(base_loss + difference)
        ends = self._multiplier_ends(base_loss, interval)
        outcome = _outcome(interval)
        first = self.pairs[0][0].mark
        return Verdict(
            arm=self.key.arm,
            baseline=self.pairs[0][1].arm.name,
            accounting=self.key.accounting,
            budget_share=self.key.budget_share,
            budget_flops=first.budget_flops,
            n_seeds=len(self.pairs),
            seeds=tuple(arm.arm.seed for arm, _ in self.pairs),
            differences=tuple(differences),
            loss=base_loss + difference,
            difference=difference,
            stderr=None,
            degrees_of_freedom=None,
            confidence=0.95,
            interval=interval,
            interval_alone=None,
            interval_own_seeds=own_interval(differences),
            compute_multiplier=None if multiplier is None else multiplier.value,
            multiplier_interval=None if ends is None else (ends[0].value, ends[1].value),
            multiplier_interval_bounds=None if ends is None else (ends[0].bound, ends[1].bound),
            multiplier_bound=None if multiplier is None else multiplier.bound,
            multiplier_withheld="",
            seconds_multiplier=None,
            seconds_multiplier_interval=None,
            tokens=first.tokens,
            flops=self._flops,
            seconds=fmean(arm.mark.seconds for arm, _ in self.pairs),
            peak_memory_bytes=max(arm.arm.peak_memory_bytes or 0 for arm, _ in self.pairs),
            tasks=self._tasks(),
            task_tests={},
            outcome=outcome,
            sentence=self._sentence(outcome, difference, interval, multiplier),
        )

    @property
    def _flops(self) -> float:
        return fmean(arm.mark.flops for arm, _ in self.pairs)

    def _multiplier(self, loss: float) -> Multiplier | None:
        flops = [flops for flops, _ in self.baseline_curve]
        losses = [reached for _, reached in self.baseline_curve]
        return compute_multiplier(loss, self._flops, flops, losses)

    def _multiplier_ends(
        self, base_loss: float, interval: Interval | None
    ) -> tuple[Multiplier, Multiplier] | None:
        """The multipliers at the ends of an interval of differences; the higher loss gives the lower one."""
        if interval is None:
            return None
        low, high = self._multiplier(base_loss + interval[1]), self._multiplier(base_loss + interval[0])
        return None if low is None or high is None else (low, high)

    def _tasks(self) -> dict[str, tuple[TaskComparison, ...]]:
        """McNemar's test per seed, on the tasks that were scored for both."""
        compared: dict[str, list[TaskComparison]] = defaultdict(list)
        for arm, base in self.pairs:
            for task, score in arm.mark.tasks.items():
                against = base.mark.tasks.get(task)
                if against is None or score.correct is None or against.correct is None:
                    continue
                gain, p = mcnemar(score.correct, against.correct)
                compared[task].append(TaskComparison(seed=arm.arm.seed, difference=gain, mcnemar_p=p))
        return {task: tuple(comparisons) for task, comparisons in compared.items()}

    def _sentence(
        self, outcome: Outcome, difference: float, interval: Interval | None, multiplier: Multiplier | None
    ) -> str:
        name, accounting, share = self.key
        where = "at equal exact FLOPs"
        if share != 1.0:
            where += f" ({share:.2f} times the budget)"
        flops_ratio = self._flops / fmean(base.mark.flops for _, base in self.pairs)
        if accounting == PAPER:
            where = f"at the paper's own mark ({100 * (flops_ratio - 1):+.1f} % exact FLOPs)"
        if accounting == TOKENS:
            where = f"at equal tokens ({100 * flops_ratio:.0f} % of the exact FLOPs)"
        size = f"{abs(difference):.3f} nats {'below' if difference < 0 else 'above'} the baseline"
        if interval is None:
            why = "one seed gives no interval"
        else:
            why = f"95 % interval {interval[0]:+.3f} to {interval[1]:+.3f}"
        if outcome is Outcome.CANNOT_TELL:
            return f"{name}: cannot tell {where} whether it pays: its loss is {size} ({why})."
        text = f"{name} {outcome} {where}: its loss is {size} ({why})"
        if multiplier is None:
            return f"{text}. There is no compute multiplier: the baseline was not measured at several budgets."
        limit = {Bound.ABOVE: "more than ", Bound.BELOW: "less than ", None: ""}[multiplier.bound]
        return f"{text}; the baseline would need {limit}{multiplier.value:.2f} times the compute for it."


def _outcome(interval: Interval | None) -> Outcome:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return Outcome.CANNOT_TELL
    return Outcome.WINS if interval[1] < 0 else Outcome.LOSES
