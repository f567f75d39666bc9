"""The critical value of several comparisons with one baseline (Dunnett, JASA 50, 1955).

    critical_value(6, correlation=0.5, degrees_of_freedom=6.0)    # 3.49: Student's t is 2.45 for one comparison

With this value in place of Student's quantile, the intervals of all comparisons hold together. The probability is
an integral over the estimated standard deviation and over what the differences share, by the trapezoidal rule,
which is exact to 1e-4 here.
"""

import math
from functools import lru_cache

import numpy as np
import scipy  # imports `scipy.special` when it is first used

from deepen.study.results.verdict_schema import CONFIDENCE

_NODES_OF_SHARED = np.linspace(0.0, 7.0, 36)
"""Positions of the shared standard normal variable; negative ones give the same probability."""

_NODES_OF_SCALE = 57
"""Positions of the logarithm of the estimated standard deviation ÷ the true one."""

_MIN_RESOLVED_MISS = 1e-6
"""The smallest probability of a miss that the integral resolves; Bonferroni's quantile serves for smaller ones."""


@lru_cache(maxsize=4096)
def critical_value(
    comparisons: int, correlation: float, degrees_of_freedom: float, confidence: float = CONFIDENCE
) -> float:
    """The two-sided quantile of the largest of several Student's t variables that are equally correlated.

    Args:
        comparisons: number of comparisons.
        correlation: between the differences of two of them, in [0, 1).
        degrees_of_freedom: of the shared estimate of variance; at least 1, and need not be whole.
        confidence: the probability that all are within the quantile.
    """

    def student(alpha: float) -> float:
        return -float(scipy.special.stdtrit(degrees_of_freedom, alpha / 2))

    miss = 1 - confidence
    low = student(miss)
    if comparisons == 1:
        return low
    high = student(miss / comparisons)  # Bonferroni's quantile
    if miss < _MIN_RESOLVED_MISS:
        return high
    log_scales, weights = _scale_distribution(degrees_of_freedom)
    scales = np.exp(log_scales)

    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        within = float(weights @ _all_within(middle * scales, comparisons, correlation))
        low, high = (middle, high) if within < confidence else (low, middle)
    return high


def _scale_distribution(degrees_of_freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the logarithm of sqrt(chi² / degrees of freedom)."""
    half = degrees_of_freedom / 2
    ends = scipy.special.gammaincinv(half, (1e-9, 1 - 1e-9)) / half
    nodes = np.linspace(0.5 * math.log(ends[0]), 0.5 * math.log(ends[1]), _NODES_OF_SCALE)
    log_density = degrees_of_freedom * nodes - half * np.exp(2 * nodes)
    weights = np.exp(log_density - log_density.max())
    return nodes, weights / weights.sum()


def _all_within(limits: np.ndarray, comparisons: int, correlation: float) -> np.ndarray:
    """The probability that all equally correlated standard normal variables are within ± each limit."""
    shared = math.sqrt(correlation) * _NODES_OF_SHARED
    weights = np.exp(-(_NODES_OF_SHARED**2) / 2)
    weights[0] /= 2
    own = math.sqrt(1 - correlation)
    upper = scipy.special.ndtr((limits[:, None] - shared) / own)
    lower = scipy.special.ndtr((-limits[:, None] - shared) / own)
    within: np.ndarray = (upper - lower) ** comparisons @ (weights / weights.sum())
    return within
