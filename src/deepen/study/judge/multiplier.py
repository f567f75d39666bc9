"""The compute multiplier: the compute that the baseline needs for an arm's loss ÷ the compute that the arm used.

The baseline's loss falls with its compute C by a law a + b x with x = C^-e, fitted to its mean losses at several
budgets. With C in units of the budget at which arm and baseline are compared, a difference d in loss there belongs
to the multiplier M for which

    theta = M^-e - 1 = d / b

and Fieller's interval (J. R. Stat. Soc. B 16, 1954) holds the theta for which d - theta b is near zero compared
with its own standard error. Three budgets do not show the exponent e, so the interval is the hull over
`EXPONENTS`; five or more narrow them down.

    curve = BaselineCurve(budgets=(0.7, 1.0, 1.4), losses=(4.09, 4.0, 3.92), noise=2e-6, critical=4.0)
    curve.estimate(-0.03)                   # 1.13
    curve.interval(-0.03, variance=4e-6)    # 1.09 to 1.19
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepen.study.results.verdict_schema import Bound, Interval

SAME_BUDGET = 1e-3
"""Budgets that differ relatively by less, for instance by a step's rounding, are the same."""

EXPONENT = 0.3
"""The exponent of the law, where the budgets do not show it."""

EXPONENTS = (0.05, EXPONENT, 0.8)
"""Exponents for the interval: from nearly logarithmic to steeper than any that was reported."""

MIN_BUDGETS_TO_FIT = 5
"""The fewest budgets from which the exponent is estimated."""

_FINE_EXPONENTS = tuple(float(e) for e in np.linspace(EXPONENTS[0], EXPONENTS[-1], 31))


@dataclass(frozen=True, kw_only=True)
class BaselineCurve:
    """The baseline's mean losses at its budgets, seen from one of them.

    Attributes:
        budgets: FLOPs ÷ the FLOPs at the budget of the comparison, which is the 1.0 among them.
        losses: mean loss at each, in nats per token.
        noise: variance of such a mean that the baseline has of its own.
        critical: half width of an interval ÷ standard error.
    """

    budgets: Sequence[float]
    losses: Sequence[float]
    noise: float
    critical: float

    @cached_property
    def lines(self) -> tuple["_Line", ...]:
        """The fitted law for each plausible exponent."""
        if len(self.budgets) < MIN_BUDGETS_TO_FIT:
            return tuple(_Line.fit(self.budgets, self.losses, e) for e in EXPONENTS)
        lines = [_Line.fit(self.budgets, self.losses, e) for e in _FINE_EXPONENTS]
        allowed = min(line.misfit for line in lines) + self.critical**2 * self.noise
        return tuple(line for line in lines if line.misfit <= allowed)

    @cached_property
    def best(self) -> "_Line":
        """The law of the estimate: the best fit, or the middle exponent where few budgets were measured."""
        if len(self.budgets) < MIN_BUDGETS_TO_FIT:
            return self.lines[1]
        return min(self.lines, key=lambda line: line.misfit)

    @property
    def has_several_budgets(self) -> bool:
        """Whether two of the budgets differ by more than the rounding to whole steps."""
        return len(self.budgets) > 1 and max(self.budgets) > (1 + SAME_BUDGET) * min(self.budgets)

    @property
    def has_slope(self) -> bool:
        """Whether more compute certainly lowers the baseline's loss, whatever the exponent."""
        return self.has_several_budgets and all(line.slope > 0 and self._lead(line) > 0 for line in self.lines)

    @property
    def log_slope(self) -> float:
        """By how much the loss falls per e-fold of compute, at the budget of the comparison."""
        return self.best.slope * self.best.exponent

    def estimate(self, difference: float) -> float:
        """The multiplier of an arm whose loss differs so much; infinite where the law never reaches its loss."""
        return self.best.multiplier(difference / self.best.slope)

    def interval(self, difference: float, variance: float) -> Interval:
        """Fieller's interval of the multiplier; its upper end may be infinite.

        Args:
            difference: the arm's mean loss minus the baseline's.
            variance: of this difference.
        """
        ends = [end for line in self.lines for end in self._ends(line, difference, variance)]
        return min(ends), max(ends)

    def _lead(self, line: "_Line") -> float:
        return line.slope**2 - self.critical**2 * line.slope_weight * self.noise

    def _ends(self, line: "_Line", difference: float, variance: float) -> Interval:
        allowed = self.critical**2
        lead = self._lead(line)
        middle = difference * line.slope + allowed * line.weight_here * self.noise
        root = math.sqrt(max(0.0, middle**2 - lead * (difference**2 - allowed * variance)))
        return line.multiplier((middle + root) / lead), line.multiplier((middle - root) / lead)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """A law a + slope · C^-exponent, fitted by least squares.

    `weight_here` is the weight in the slope of the loss at the budget of the comparison, `slope_weight` the sum of
    the squared weights, `misfit` the sum of the squared residuals.
    """

    exponent: float
    slope: float
    weight_here: float
    slope_weight: float
    misfit: float

    @classmethod
    def fit(cls, budgets: Sequence[float], losses: Sequence[float], exponent: float) -> "_Line":
        x: NDArray[np.float64] = np.asarray(budgets, dtype=float) ** -exponent
        y = np.asarray(losses, dtype=float)
        spread = x - x.mean()
        weights = spread / (spread @ spread)
        slope = float(weights @ y)
        residual = y - y.mean() - slope * spread
        here = int(np.argmin(np.abs(np.log(budgets))))
        return cls(
            exponent=exponent,
            slope=slope,
            weight_here=float(weights[here]),
            slope_weight=float(weights @ weights),
            misfit=float(residual @ residual),
        )

    def multiplier(self, theta: float) -> float:
        """The multiplier that belongs to theta."""
        return math.inf if theta <= -1 else (1 + theta) ** (-1 / self.exponent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What can be claimed of an arm's multiplier; the fields are those of a `Verdict`."""

    value: float | None = None
    bound: Bound | None = None
    interval: Interval | None = None
    interval_bounds: tuple[Bound | None, Bound | None] | None = None
    withheld: str = ""


def claim_multiplier(
    curve: BaselineCurve, difference: float, variance: float | None, *, scale: float = 1.0
) -> Claim:
    """What can be claimed of a multiplier: nothing beyond the measured budgets but bounds.

    Args:
        curve: the baseline's losses.
        difference: the arm's mean loss minus the baseline's.
        variance: of this difference; None if it is unknown, as with one seed.
        scale: FLOPs of the baseline at the budget of the comparison ÷ FLOPs of the arm.
    """
    if not curve.has_several_budgets:
        return Claim(withheld="the baseline was not measured at several budgets")
    if not curve.has_slope:
        return Claim(withheld="the baseline's own gain from compute cannot be told from none")
    lowest, highest = scale * min(curve.budgets), scale * max(curve.budgets)
    value = scale * curve.estimate(difference)
    bound = Bound.ABOVE if value > highest else Bound.BELOW if value < lowest else None
    if variance is None:
        if bound:
            return Claim(withheld="the loss is beyond those of the baseline's budgets, and has no interval")
        return Claim(value=value)
    low, high = (_cut(scale * end, lowest, highest) for end in curve.interval(difference, variance))
    interval, bounds = (low[0], high[0]), (low[1], high[1])
    if bound:
        value, value_bound = low if bound is Bound.ABOVE else high
        if value_bound not in (bound, None):
            return Claim(
                withheld="the interval spans all budgets of the baseline, and the estimate lies beyond them"
            )
    return Claim(value=value, bound=bound, interval=interval, interval_bounds=bounds)


def _cut(end: float, lowest: float, highest: float) -> tuple[float, Bound | None]:
    """The end of an interval, within the measured budgets, and the side of the true end if it is cut."""
    if end > highest:
        return highest, Bound.ABOVE
    return (lowest, Bound.BELOW) if end < lowest else (end, None)
