"""The comparison of an arm with the baseline at one mark: from paired losses and their noise to a verdict."""

import math
from dataclasses import dataclass, replace
from statistics import fmean

from deepen.study.judge.multiplier import BaselineCurve, Claim, claim_multiplier
from deepen.study.judge.paired_runs import MarkKey, Measured
from deepen.study.judge.strata import Strata, Stratum, own_interval, student_quantile
from deepen.study.judge.task_tests import compare_tasks
from deepen.study.judge.verdict_sentence import describe_verdict
from deepen.study.results.schema import Interval, Outcome, Verdict
from deepen.study.results.seconds import seconds_factor
from deepen.study.results.verdict_schema import CONFIDENCE


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """An arm and the baseline at a mark of the arm.

    Attributes:
        key: the mark.
        pairs: an (arm, baseline) pair per seed.
        strata: the noise; None if there is no interval.
        text: the variance that comes from the choice of the validation text; None if it is unknown.
        curve: the baseline's losses.
    """

    key: MarkKey
    pairs: tuple[tuple[Measured, Measured], ...]
    strata: Strata | None
    text: Stratum | None
    curve: BaselineCurve

    def verdict(self) -> Verdict:
        """Compute the verdict."""
        differences = tuple(arm.val_loss - base.val_loss for arm, base in self.pairs)
        difference, variance, strata = fmean(differences), self._variance, self.strata
        interval = alone = None
        if strata is not None and variance is not None:
            interval = _around(difference, strata.critical_value * math.sqrt(variance))
            student = student_quantile(strata.degrees_of_freedom, strata.confidence)
            alone = _around(difference, student * math.sqrt(variance))
        claim = self._claim(difference)
        factor = seconds_factor([arm.mark for arm, _ in self.pairs], [base.mark for _, base in self.pairs])
        tasks, task_tests = compare_tasks(self.pairs)
        first, loss = self.pairs[0], fmean(arm.val_loss for arm, _ in self.pairs)
        confidence = strata.confidence if strata else CONFIDENCE
        verdict = Verdict(
            arm=self.key.arm,
            baseline=first[1].arm.name,
            accounting=self.key.accounting,
            budget_share=self.key.budget_share,
            budget_flops=first[0].mark.budget_flops,
            n_seeds=len(self.pairs),
            seeds=tuple(arm.arm.seed for arm, _ in self.pairs),
            loss=loss,
            difference=difference,
            differences=differences,
            stderr=None if variance is None else math.sqrt(variance),
            degrees_of_freedom=strata.degrees_of_freedom if strata else None,
            confidence=strata.confidence if strata else None,
            interval=interval,
            interval_alone=alone,
            interval_own_seeds=own_interval(differences, confidence),
            compute_multiplier=claim.value,
            multiplier_interval=claim.interval,
            multiplier_interval_bounds=claim.interval_bounds,
            multiplier_bound=claim.bound,
            multiplier_withheld=claim.withheld,
            seconds_multiplier=None if factor is None or claim.value is None else factor * claim.value,
            seconds_multiplier_interval=_scaled(claim.interval, factor),
            tokens=first[0].mark.tokens,
            flops=fmean(arm.mark.flops for arm, _ in self.pairs),
            seconds=fmean(arm.mark.seconds for arm, _ in self.pairs),
            peak_memory_bytes=max(arm.arm.peak_memory_bytes or 0 for arm, _ in self.pairs),
            tasks=tasks,
            task_tests=task_tests,
            outcome=_outcome(interval) if self.key.is_exact else None,
            sentence="",
        )
        return replace(verdict, sentence=describe_verdict(verdict, self._flops_ratio))

    @property
    def _variance(self) -> float | None:
        """The variance of the mean difference; None if there is no interval."""
        if self.strata is None:
            return None
        text = self.text.mean_square if self.text else 0.0
        return self.strata.variance - self.strata.text_variance + text

    @property
    def _flops_ratio(self) -> float:
        arm, base = (fmean(run.mark.flops for run in runs) for runs in zip(*self.pairs, strict=True))
        return arm / (base or 1.0)

    def _claim(self, difference: float) -> Claim:
        """The multiplier; at exact FLOPs the compute is equal apart from the rounding to whole steps."""
        for runs, whose in zip(zip(*self.pairs, strict=True), ("the", "the baseline's"), strict=True):
            if any(run.arm.rate_at_edge for run in runs):
                return Claim(withheld=f"{whose} chosen rate is at the edge of those that were tried")
        ratio = 1.0 if self.key.is_exact else self._flops_ratio
        if not ratio:
            return Claim(withheld="the FLOPs of the arm are unknown")
        return claim_multiplier(self.curve, difference, self._variance, scale=1 / ratio)


def _around(centre: float, half_width: float) -> Interval:
    return centre - half_width, centre + half_width


def _scaled(interval: Interval | None, factor: float | None) -> Interval | None:
    return None if interval is None or factor is None else (factor * interval[0], factor * interval[1])


def _outcome(interval: Interval | None) -> Outcome:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return Outcome.CANNOT_TELL
    return Outcome.WINS if interval[1] < 0 else Outcome.LOSES
