"""What a study can detect, before it is run or after: from its noise, the smallest multiplier that wins.

noise = expected_noise(arms_std=0.0024, baseline_std=0.0072, slope=0.22, arms=6, seeds=3)
detectable_multiplier(noise)              # 1.09
detectable_multiplier(noise, seeds=5)     # 1.06
"""

import math
from functools import lru_cache

import numpy as np
import scipy  # imports `scipy.special` when it is first used
from numpy.typing import NDArray

from deepen.study.judge.dunnett import critical_value
from deepen.study.judge.multiplier import EXPONENT
from deepen.study.judge.strata import MAX_CORRELATION, Strata, Stratum
from deepen.study.results.verdict_schema import CONFIDENCE, Noise

POWER = 0.8
"""The probability with which an arm whose multiplier is detectable wins."""

_FREEDOMS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 100.0, 1000.0)

_CHI_SQUARE_DRAWS = np.modf(0.5 + np.outer((0.8567, 0.7339, 0.6287, 0.5386), np.arange(1, 257)))[0]
"""Points of a low-discrepancy sequence in the unit cube, one row per stratum."""


def expected_noise(
    *,
    arms_std: float,
    baseline_std: float,
    slope: float,
    arms: int,
    seeds: int,
    budgets: int = 3,
    text_std: float = 0.0,
    confidence: float = CONFIDENCE,
) -> Noise:
    """The noise to expect of a study, from the standard deviations of single runs.

    Args:
        arms_std, baseline_std: beyond what a seed does to all runs alike, in nats per token.
        slope: by how much the baseline's loss falls per e-fold of compute, in nats per token.
        arms: number of arms that are compared with the baseline.
        seeds: number of seeds.
        budgets: number of budgets at which the baseline is measured.
        text_std: standard error of a difference that comes from the choice of the validation text.
        confidence: with which the intervals of all arms should hold together.
    """
    strata = Strata(
        arms=Stratum(mean_square=arms_std**2 if arms > 1 else 0.0, freedom=(arms - 1) * (seeds - 1)),
        baseline=Stratum(mean_square=baseline_std**2 if budgets > 1 else 0.0, freedom=(budgets - 1) * (seeds - 1)),
        between=Stratum(mean_square=arms_std**2 / arms + baseline_std**2 / budgets, freedom=seeds - 1),
        excess={},
        k=arms,
        m=budgets,
        n=seeds,
        text_variance=text_std**2,
        confidence=confidence,
    )
    return describe_noise(strata, slope)


def describe_noise(strata: Strata, slope: float | None) -> Noise:
    """The noise of a study, as results.json records it.

    Args:
        strata: its three sources.
        slope: by how much the baseline's loss falls per e-fold of compute; None if that is unknown.
    """
    stderr, critical = math.sqrt(strata.variance), strata.critical_value
    return Noise(
        arms_std=math.sqrt(strata.arms.mean_square) if strata.arms.freedom else None,
        arms_df=strata.arms.freedom,
        baseline_std=math.sqrt(strata.baseline.mean_square) if strata.baseline.freedom else None,
        baseline_df=strata.baseline.freedom,
        shared_std=math.sqrt(strata.between.mean_square),
        shared_df=strata.between.freedom,
        text_std=math.sqrt(strata.text_variance) if strata.text_variance else None,
        stderr=stderr,
        degrees_of_freedom=strata.degrees_of_freedom,
        correlation=strata.correlation,
        critical_value=critical,
        confidence=strata.confidence,
        arms=strata.k,
        seeds=strata.n,
        budgets=strata.m,
        slope=slope,
        unequal_p=strata.unequal_p,
        half_width=critical * stderr,
        arm_half_width=strata.arm_half_width,
        detectable_multiplier=_detectable(strata, slope),
        baseline_seed_std=None,
        residual_std=None,
    )


def detectable_multiplier(noise: Noise, *, seeds: int | None = None) -> float | None:
    """The smallest true multiplier with which an arm wins with probability `POWER`.

    Args:
        noise: of a study, or `expected_noise`.
        seeds: a number of seeds, of at least 2, in place of the study's own.

    Returns:
        The multiplier by the baseline's slope at the study's budget; infinite if no multiplier is that large, None
        if noise or slope are unknown.
    """
    n = noise.seeds if seeds is None else seeds
    if n < 2 or noise.shared_std is None:
        return None
    return _detectable(_expected_strata(noise, n), noise.slope)


def with_seeds(noise: Noise, seeds: int) -> Noise:
    """The noise to expect with another number of seeds, at least 2, if what was measured is the true noise."""
    return noise if noise.shared_std is None else describe_noise(_expected_strata(noise, seeds), noise.slope)


def _expected_strata(noise: Noise, seeds: int) -> Strata:
    """The sources of noise with a number of seeds, from those of a study."""
    shared_std = noise.shared_std or 0.0
    return Strata(
        arms=Stratum(mean_square=(noise.arms_std or 0.0) ** 2, freedom=(noise.arms - 1) * (seeds - 1)),
        baseline=Stratum(mean_square=(noise.baseline_std or 0.0) ** 2, freedom=(noise.budgets - 1) * (seeds - 1)),
        between=Stratum(mean_square=shared_std**2, freedom=seeds - 1),
        excess={},
        k=noise.arms,
        m=noise.budgets,
        n=seeds,
        text_variance=(noise.text_std or 0.0) ** 2,
        confidence=noise.confidence or CONFIDENCE,
    )


def _detectable(strata: Strata, slope: float | None) -> float | None:
    """The multiplier that a simulation finds with probability `POWER`, if `strata` were the true noise.

    A study measures the mean squares with chi² errors, and from them its half width h. A true difference of
    -delta wins with probability mean Phi((delta - h) / stderr), over the draws of h.
    """
    if slope is None or slope <= 0 or not strata.variance:
        return None
    parts = [part for part in strata.parts if part.freedom and part.mean_square]
    sampled = _CHI_SQUARE_DRAWS[: len(parts)]
    drawn = np.array(
        [
            part.mean_square * scipy.special.gammaincinv(part.freedom / 2, draws) * 2 / part.freedom
            for part, draws in zip(parts, sampled, strict=True)
        ]
    )
    known = strata.variance - sum(part.mean_square for part in parts)
    variance = drawn.sum(axis=0) + known
    freedom = variance**2 / sum(each**2 / part.freedom for each, part in zip(drawn, parts, strict=True))
    half_width = _interpolate_critical_value(strata, freedom) * np.sqrt(variance)
    stderr = math.sqrt(strata.variance)
    low, high = 0.0, float(half_width.max()) + 2 * stderr
    for _ in range(40):
        middle = (low + high) / 2
        wins = float(scipy.special.ndtr((middle - half_width) / stderr).mean())
        low, high = (middle, high) if wins < POWER else (low, middle)
    reached = 1 - EXPONENT * high / slope
    return reached ** (-1 / EXPONENT) if reached > 0 else math.inf


def _interpolate_critical_value(strata: Strata, freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Critical values at many degrees of freedom, for the correlation of these strata."""
    log_values = _log_critical_values(strata.k, round(strata.correlation, 1), strata.confidence)
    return np.exp(np.interp(np.log(freedom), np.log(_FREEDOMS), log_values))


@lru_cache(maxsize=64)
def _log_critical_values(comparisons: int, correlation: float, confidence: float) -> tuple[float, ...]:
    correlation = min(correlation, MAX_CORRELATION)
    return tuple(math.log(critical_value(comparisons, correlation, nu, confidence)) for nu in _FREEDOMS)
