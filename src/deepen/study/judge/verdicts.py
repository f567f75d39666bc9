"""Verdicts: the comparison of every arm with the baseline at equal compute, in numbers and in a sentence.

    verdicts, noise = judge(results.arms, results.baseline)

There is one verdict per mark of an arm, if arm and baseline were measured at the mark's budget with every seed of
the baseline. They are compared seed by seed, because runs with the same seed share data order and initialization.
docs/statistics.md explains the intervals: `strata` has the noise, `multiplier` the compute multiplier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from deepen.errors import InvalidValueError, join_or
from deepen.study.judge.comparison import Comparison
from deepen.study.judge.constant_depths import find_at_edge, find_constant_depths, with_depths
from deepen.study.judge.multiplier import BaselineCurve
from deepen.study.judge.paired_runs import (
    BySeed,
    MarkKey,
    Pairing,
    losses_by_seed,
    pair_runs,
)
from deepen.study.judge.power import describe_noise
from deepen.study.judge.strata import (
    Strata,
    Stratum,
    measure_strata,
    text_error,
)
from deepen.study.judge.task_tests import holm
from deepen.study.results.schema import (
    NO_NOISE,
    ArmResult,
    Noise,
    Results,
    Verdict,
)
from deepen.study.results.verdict_schema import CONFIDENCE

MIN_MISS = 1e-12
"""The smallest probability of a miss that a look gets, however many there were."""

NEAR_BUDGETS = 2.0
"""The baseline's noise at a budget is measured at all its budgets within this factor."""

FAR_BUDGETS = 1e6
"""A budget that is farther by this factor, as in damaged files, is no part of the baseline's curve."""


def judge(
    arms: Sequence[ArmResult] | Sequence[Mapping[str, Any]],
    baseline: str,
    *,
    look: int = 1,
    looks: int = 1,
) -> tuple[tuple[Verdict, ...], Noise]:
    """Compare all arms with the baseline at the budget of each of their marks.

    Args:
        arms: `Results.arms`, or the JSON value of `arms` in results.json; one entry per arm and seed.
        baseline: name of the baseline arm; any arm can be the baseline.
        look, looks: which look at the results this is, of how many. More looks take more confidence for each.

    Returns:
        The verdicts, and the noise on which the intervals at the study's budget are based.

    Raises:
        InvalidValueError: `look` is not one of `looks`, or no arm is called as the baseline.
    """
    if isinstance(arms, Mapping):
        raise InvalidValueError(
            "is a mapping: it must be a list with an entry per arm and seed",
            field="arms",
            value=arms,
            remedy='of the content of results.json, give ["arms"]',
        )
    records = [ArmResult.from_json(arm) for arm in arms]
    names = tuple(dict.fromkeys(record.name for record in records))
    if names and baseline not in names:
        raise InvalidValueError(
            f"is {baseline!r}, which is not the name of an arm",
            field="baseline",
            value=baseline,
            allowed=names,
            remedy=f"use {join_or(names)}",
        )
    return _judge(records, baseline, look=look, looks=looks)


def _judge(
    records: Sequence[ArmResult], baseline: str, *, look: int, looks: int
) -> tuple[tuple[Verdict, ...], Noise]:
    """As `judge`; without runs of the baseline there are no verdicts."""
    confidence = joint_confidence(look, looks)
    judged = _Judgement(pairing=pair_runs(records, baseline), confidence=confidence)
    return judged.verdicts(), judged.noise


def joint_confidence(look: int, looks: int) -> float:
    """The confidence of the joint intervals: 0.95 with one look, and together over all looks otherwise.

    Raises:
        InvalidValueError: `look` is not one of `looks`.
    """
    if not 1 <= look <= looks:
        raise InvalidValueError(f"is {look}: it must be from 1 to `looks`, {looks}", field="look", value=look)
    return CONFIDENCE if looks == 1 else 1 - max((1 - CONFIDENCE) * 2.0**-look, MIN_MISS)


def with_verdicts(results: Results) -> Results:
    """Add the verdicts and the noise to collected results, also those against the constant depths."""
    look, best = _find_look(results), results.best_fixed_depth
    looks = max(look, len(results.looks))
    verdicts, noise = _judge(results.arms, results.baseline, look=look, looks=looks)
    judged = {results.baseline: (verdicts, noise)}
    depths = find_constant_depths(results.arms)
    for depth in filter(None, (*depths, best)):
        if depth not in judged:
            judged[depth] = _judge(results.arms, depth, look=look, looks=looks)
    depth_verdicts, depth_noise = judged[best] if best and best != results.baseline else ((), NO_NOISE)
    return replace(
        results,
        verdicts=with_depths(verdicts, {depth: judged[depth][0] for depth in depths}, find_at_edge(results.arms)),
        noise=noise,
        depth_verdicts=depth_verdicts,
        depth_noise=depth_noise,
    )


def _find_look(results: Results) -> int:
    """Which of the looks of a study this is, by its number of seeds; the next one if it is not recorded yet."""
    seeds = len({arm.seed for arm in results.arms if arm.name == results.baseline})
    return 1 + sum(recorded < seeds for recorded in results.looks)


@dataclass(frozen=True, kw_only=True)
class _Judgement:
    """The comparison of all arms with the baseline."""

    pairing: Pairing
    confidence: float

    def verdicts(self) -> tuple[Verdict, ...]:
        verdicts = [self._compare(key, by_seed).verdict() for key, by_seed in self.pairing.complete.items()]
        return _with_corrected_tests(verdicts)

    @property
    def noise(self) -> Noise:
        """The noise at the study's budget."""
        share = self.pairing.main_share
        if self._main is None:
            return NO_NOISE
        curve = self._curve(share, self._main)
        return describe_noise(self._main, curve.log_slope if curve.has_slope else None)

    @cached_property
    def _main(self) -> Strata | None:
        """The noise at the study's budget; None with one seed, or without an arm."""
        return self._measure(self.pairing.main_share)

    def _strata(self, share: float) -> Strata | None:
        """The noise at a budget: measured there, if all arms of the study's budget are, else at that one."""
        arms = self.pairing.arms_at(share)
        if self._main is None or share == self.pairing.main_share or len(arms) < self._main.k:
            return self._main
        return self._measure(share)

    def _measure(self, share: float) -> Strata | None:
        base, keys = self.pairing.reference(share), self.pairing.arms_at(share)
        seeds = list(base)
        if len(seeds) < 2 or not keys:
            return None
        arms = [self.pairing.complete[key] for key in keys]
        near = [
            by_seed
            for each, by_seed in self._budgets(seeds).items()
            if 1 / NEAR_BUDGETS <= each / share <= NEAR_BUDGETS
        ]
        names = [key.arm for key in keys]
        strata = measure_strata(names, losses_by_seed(arms, seeds), losses_by_seed(near, seeds), self.confidence)
        texts = [text for arm in arms if (text := _text_error(arm, base, seeds))]
        if not texts:
            return strata
        return replace(
            strata, text_variance=fmean(text.mean_square for text in texts), text_freedom=texts[0].freedom
        )

    def _budgets(self, seeds: Sequence[int]) -> dict[float, BySeed]:
        """The budgets at which the baseline was measured with all of these seeds."""
        return {
            share: by_seed
            for share, by_seed in self.pairing.references.items()
            if all(seed in by_seed for seed in seeds)
        }

    def _curve(self, share: float, strata: Strata | None) -> BaselineCurve:
        base = self.pairing.reference(share)
        here = fmean(run.mark.flops for run in base.values())
        points = [
            (fmean(runs[seed].mark.flops for seed in base) / here, fmean(runs[seed].val_loss for seed in base))
            for runs in self._budgets(list(base)).values()
            if here > 0 and all(1 / FAR_BUDGETS < runs[seed].mark.flops / here < FAR_BUDGETS for seed in base)
        ]
        return BaselineCurve(
            budgets=[budget for budget, _ in points],
            losses=[loss for _, loss in points],
            noise=strata.baseline.mean_square / strata.n if strata else 0.0,
            critical=strata.critical_value if strata else 0.0,
        )

    def _compare(self, key: MarkKey, by_seed: BySeed) -> Comparison:
        base = self.pairing.reference(key.budget_share)
        strata = self._strata(key.budget_share)
        strata = None if strata is None else strata.for_arm(key.arm, len(base))
        return Comparison(
            key=key,
            pairs=tuple((by_seed[seed], run) for seed, run in base.items()),
            strata=strata,
            text=_text_error(by_seed, base, list(base)),
            curve=self._curve(key.budget_share, strata),
        )


def _text_error(arm: BySeed, base: BySeed, seeds: Sequence[int]) -> Stratum | None:
    return text_error(*([by_seed[seed].mark.val_blocks for seed in seeds] for by_seed in (arm, base)))


def _with_corrected_tests(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Correct the p-values of tasks for all arms and tasks that are compared at the same mark."""
    marks = dict.fromkeys((v.accounting, v.budget_share) for v in verdicts)
    corrected: dict[tuple[int, str], float] = {}
    for mark in marks:
        corrected |= holm(
            {
                (nth, task): test.p
                for nth, verdict in enumerate(verdicts)
                if (verdict.accounting, verdict.budget_share) == mark
                for task, test in verdict.task_tests.items()
                if test.p is not None
            }
        )
    return tuple(
        replace(
            verdict,
            task_tests={
                task: replace(test, p_holm=corrected.get((nth, task))) for task, test in verdict.task_tests.items()
            },
        )
        for nth, verdict in enumerate(verdicts)
    )
