"""The best constant depth at one budget, with its uncertainty, from losses of several depths with the same seeds.

    depth              2      3      4      6      8
    mean loss       4.41   4.33   4.30   4.32   4.39     lowest at 4
    difference              +.03      0   +.02           3 and 6 cannot be told from it, the others are worse
    quadratic in the logarithm of the depth: lowest at 4.3, interval 3.7 to 5.0

The noise is that of one run beyond what a seed does to all depths alike: the residual of losses in the table of
depths and seeds. A depth is worse than the lowest if the interval of their difference excludes zero, widened for
all pairs of depths, because the lowest is chosen after the losses are seen. The interval of the minimum is
Fieller's, which is without an end where the curve is flat within its noise. That the curve is no parabola is not
part of it, so only the lowest depth and its neighbours are fitted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepen.study.judge.strata import student_quantile
from deepen.study.results.verdict_schema import CONFIDENCE, Interval

NEIGHBOURS = 2
"""How many depths on each side of the lowest are fitted."""

_MAX_REACH = math.log(100)
"""How far, in the logarithm, an end of an interval can be from the middle of the fitted depths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BestDepth:
    """The best of several depths.

    Attributes:
        lowest: the depth with the lowest mean loss.
        close: depths, `lowest` among them, that cannot be told from it; all of them with one seed.
        is_at_edge: whether `lowest` is the smallest or the largest depth, so that a better one may lie beyond.
        minimum: the depth at which the parabola is lowest; None where that is not among the depths.
        interval: of `minimum`, cut at 1/100 and 100 times the middle of the fitted depths; None with one seed, or
            where the curve is flat within its noise.
        noise_std: standard deviation of one run, in nats per token; None with one seed.
    """

    lowest: int
    close: tuple[int, ...]
    is_at_edge: bool
    minimum: float | None
    interval: Interval | None
    noise_std: float | None


def find_best_depth(losses: Mapping[int, Sequence[float]]) -> BestDepth:
    """Find the best depth.

    Args:
        losses: for each depth the validation loss of each seed, in nats per token, the same seeds for all depths.
    """
    depths = sorted(losses)
    table = np.array([losses[depth] for depth in depths], dtype=float)  # (depths, seeds)
    means = table.mean(axis=1)
    best = int(means.argmin())
    variance, freedom = _measure_noise(table)
    near = slice(max(0, best - NEIGHBOURS), best + NEIGHBOURS + 1)
    is_at_edge = best in (0, len(depths) - 1)
    minimum, interval = None, None
    if not is_at_edge:
        minimum, interval = _fit_minimum(depths[near], means[near], variance, freedom)
    reach = math.inf
    if freedom:
        pairs = len(depths) * (len(depths) - 1) / 2
        reach = student_quantile(freedom, 1 - (1 - CONFIDENCE) / pairs) * math.sqrt(2 * variance)
    return BestDepth(
        lowest=depths[best],
        close=tuple(depth for depth, mean in zip(depths, means, strict=True) if mean - means[best] <= reach),
        is_at_edge=is_at_edge,
        minimum=minimum,
        interval=interval,
        noise_std=math.sqrt(variance * table.shape[1]) if freedom else None,
    )


def _measure_noise(table: np.ndarray) -> tuple[float, int]:
    """The variance of the mean of a depth, and its degrees of freedom, which are 0 with one seed."""
    depths, seeds = table.shape
    freedom = (depths - 1) * (seeds - 1)
    if not freedom:
        return 0.0, 0
    residual = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return float((residual**2).sum()) / freedom / seeds, freedom


def _fit_minimum(
    depths: Sequence[int], means: np.ndarray, variance: float, freedom: int
) -> tuple[float | None, Interval | None]:
    """The minimum of a parabola in the logarithm of the depth, and Fieller's interval of where it is flat."""
    x = np.log(np.array(depths, dtype=float))
    centre = x.mean()
    design = np.stack([np.ones_like(x), x - centre, (x - centre) ** 2], axis=1)
    (_, slope, bend), *_ = np.linalg.lstsq(design, means, rcond=None)
    lowest = centre - slope / (2 * bend) if bend > 0 else math.nan
    if not x[0] <= lowest <= x[-1]:
        return None, None
    minimum = math.exp(lowest)
    if not freedom:
        return minimum, None
    covariance = variance * np.linalg.inv(design.T @ design)
    t2 = student_quantile(freedom, CONFIDENCE) ** 2
    # The slope at x, slope + 2 bend x, is within its error of zero between the roots of a x² + b x + c.
    a = 4 * (bend**2 - t2 * covariance[2, 2])
    b = 4 * (slope * bend - t2 * covariance[1, 2])
    c = slope**2 - t2 * covariance[1, 1]
    if a <= 0:  # the bend is within its error of none
        return minimum, None
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    ends = np.clip([(-b - root) / (2 * a), (-b + root) / (2 * a)], -_MAX_REACH, _MAX_REACH)
    low, high = map(math.exp, centre + ends)
    return minimum, (low, high)
