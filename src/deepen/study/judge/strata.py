"""The three sources of noise in a comparison of arms with a baseline, and the intervals that follow.

Losses of k arms at one budget and of the baseline at m budgets, with the same n seeds:

    arms        k x n    noise that each arm has of its own
    baseline    m x n    noise that the baseline has of its own, which may be several times as large
    between     n        mean of the arms minus mean of the baseline: what arms have in common, such as segments

What a seed does to all runs alike cancels. The variances are estimated separately and added up, with degrees of
freedom by Satterthwaite (Biometrics Bulletin 2, 1946); docs/statistics.md derives the formulas.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

import numpy as np
import scipy  # imports `scipy.special` when it is first used
from numpy.typing import NDArray

from deepen.study.judge.dunnett import critical_value
from deepen.study.results.verdict_schema import CONFIDENCE, Interval

MAX_CORRELATION = 0.95
"""The largest correlation of two differences for which Dunnett's critical value is taken."""

Losses = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stratum:
    """A mean square and its degrees of freedom."""

    mean_square: float
    freedom: int


@dataclass(frozen=True, kw_only=True)
class Strata:
    """The noise of k arms and their baseline, in squared nats per token, for one run.

    Attributes:
        arms: the arms' own noise; zero with one arm.
        baseline: the baseline's own noise; zero with one budget.
        between: of the mean of the arms minus the mean of the baseline, over seeds.
        excess: for each arm by name, by how much its own noise exceeds that of all arms; zero for many.
        own_excess: the excess of the arm in question.
        k, m, n: numbers of arms, of the baseline's budgets, and of seeds.
        text_variance: variance of a mean difference that comes from the choice of the validation text, which more
            seeds do not reduce; mean over the arms.
        text_freedom: its degrees of freedom.
        confidence: with which the intervals of all arms should hold together.
    """

    arms: Stratum
    baseline: Stratum
    between: Stratum
    excess: Mapping[str, float]
    k: int
    m: int
    n: int
    own_excess: float = 0.0
    text_variance: float = 0.0
    text_freedom: int = 0
    confidence: float = CONFIDENCE

    @cached_property
    def parts(self) -> tuple[Stratum, ...]:
        """The parts of the variance of a mean difference, each with its degrees of freedom."""
        weights = (1 - 1 / self.k, 1.0, 1 - 1 / self.m)
        strata = (self.arms, self.between, self.baseline)
        seeds = [
            Stratum(mean_square=weight * stratum.mean_square / self.n, freedom=stratum.freedom)
            for weight, stratum in zip(weights, strata, strict=True)
        ]
        return (
            *seeds,
            Stratum(mean_square=self.own_excess / self.n, freedom=self.n - 1),
            Stratum(mean_square=self.text_variance, freedom=self.text_freedom),
        )

    def for_arm(self, name: str, seeds: int) -> "Strata":
        """The noise of the difference of one arm over a number of seeds, with the excess of its own."""
        return replace(self, n=seeds, own_excess=self.excess.get(name, 0.0))

    @cached_property
    def variance(self) -> float:
        """The variance of an arm's mean difference."""
        return sum(part.mean_square for part in self.parts)

    @cached_property
    def degrees_of_freedom(self) -> float:
        """Satterthwaite's degrees of freedom of `variance`.

        With two seeds and one budget of the baseline, they are those of the variance between seeds alone: the
        formula's are too many there. Excess noise never adds any.
        """
        parts = [part for part in self.parts if part.freedom and part.mean_square]
        if not parts or (self.m == 1 and self.n == 2):
            return self.n - 1
        fewest = min(part.freedom for part in parts)  # what the formula never goes below, apart from rounding
        found = max(fewest, self.variance**2 / sum(part.mean_square**2 / part.freedom for part in parts))
        return min(found, replace(self, own_excess=0.0).degrees_of_freedom) if self.own_excess else found

    @property
    def correlation(self) -> float:
        """The correlation of two arms' differences, which share the baseline."""
        own = (self.arms.mean_square + self.own_excess) / self.n + self.text_variance
        return min(max(1 - own / self.variance, 0.0), MAX_CORRELATION) if self.variance else 0.0

    @cached_property
    def critical_value(self) -> float:
        """Half width of joint intervals ÷ standard error: one number for all arms without excess noise."""
        return critical_value(self.k, self.correlation, self.degrees_of_freedom, self.confidence)

    @property
    def student(self) -> float:
        """Half width of the interval of one arm alone ÷ standard error."""
        return student_quantile(self.degrees_of_freedom, self.confidence)

    @property
    def unequal_p(self) -> float | None:
        """The p-value of the F test that the baseline is no noisier than the arms; None if it cannot be tested."""
        if not self.arms.mean_square or not self.baseline.freedom:
            return None
        ratio = self.baseline.mean_square / self.arms.mean_square
        return float(scipy.special.fdtrc(self.baseline.freedom, self.arms.freedom, ratio))

    @property
    def arm_half_width(self) -> float | None:
        """Half width of the interval of the difference of two arms without excess noise; None with one arm."""
        if not self.arms.freedom:
            return None
        variance = 2 * self.arms.mean_square / self.n + self.text_variance
        return student_quantile(self.arms.freedom, self.confidence) * math.sqrt(variance)


def measure_strata(names: Sequence[str], arms: Losses, baseline: Losses, confidence: float = CONFIDENCE) -> Strata:
    """Measure the three sources of noise, without the choice of the validation text.

    Args:
        names: names of the k arms.
        arms: losses of the arms at one budget, (k, n); at least two seeds.
        baseline: losses of the baseline at several budgets, (m, n); the seeds are those of the arms.
        confidence: with which the intervals of all arms should hold together.
    """
    (k, n), m = arms.shape, len(baseline)
    own = _residuals(arms)
    arms_stratum = _mean_square(own, (k - 1) * (n - 1))
    between = arms.mean(axis=0) - baseline.mean(axis=0)
    return Strata(
        arms=arms_stratum,
        baseline=_mean_square(_residuals(baseline), (m - 1) * (n - 1)),
        between=Stratum(mean_square=float(np.var(between, ddof=1)), freedom=n - 1),
        excess=dict(zip(names, _excess(own, arms_stratum.mean_square), strict=True)),
        k=k,
        m=m,
        n=n,
        confidence=confidence,
    )


def _residuals(table: Losses) -> Losses:
    """What is left of a table after subtracting the means of its rows and columns."""
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    residuals: Losses = table - rows - columns + table.mean()
    return residuals


def _mean_square(residuals: Losses, freedom: int) -> Stratum:
    total = float((residuals**2).sum())
    return Stratum(mean_square=total / freedom if freedom else 0.0, freedom=freedom)


def _excess(residuals: Losses, mean_square: float) -> tuple[float, ...]:
    """By how much each arm's own variance exceeds the mean of all; the shares of two arms cannot be told apart."""
    k, n = residuals.shape
    if k < 3:
        return tuple(0.0 for _ in residuals)
    own = ((residuals**2).sum(axis=1) / (n - 1) - mean_square / k) / (1 - 2 / k)
    return tuple(max(0.0, float(each) - mean_square) for each in own)


def text_error(arm: Sequence[Sequence[float]], baseline: Sequence[Sequence[float]]) -> Stratum | None:
    """The variance of a mean difference that comes from the choice of the validation text.

    Args:
        arm, baseline: for each seed, the mean losses of the blocks of the validation text.

    Returns:
        The variance of the mean over the blocks of the difference averaged over seeds; None if a loss is unknown,
        or if there are fewer than two blocks.
    """
    lengths = {len(blocks) for blocks in (*arm, *baseline)}
    if len(lengths) != 1 or min(lengths) < 2:
        return None
    [count] = lengths
    differences = np.mean(np.array(arm) - np.array(baseline), axis=0)
    return Stratum(mean_square=float(np.var(differences, ddof=1)) / count, freedom=count - 1)


def student_quantile(degrees_of_freedom: float, confidence: float) -> float:
    """Student's two-sided quantile."""
    return float(scipy.special.stdtrit(degrees_of_freedom, (1 + confidence) / 2))


def widen_for_pairs(half_width: float, degrees_of_freedom: float, confidence: float, pairs: int) -> float:
    """The half width of Student's interval of one difference, widened so that those of several hold together.

    A pair that was chosen from several after their losses were seen needs it (Bonferroni).
    """
    joint = student_quantile(degrees_of_freedom, 1 - (1 - confidence) / pairs)
    return half_width * joint / student_quantile(degrees_of_freedom, confidence)


def own_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval of these paired differences alone; very wide with two or three seeds."""
    n = len(differences)
    if n < 2:
        return None
    centre = fmean(differences)
    half_width = student_quantile(n - 1, confidence) * float(np.std(differences, ddof=1)) / math.sqrt(n)
    return centre - half_width, centre + half_width
