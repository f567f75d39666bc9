"""Intervals over seeds, the compute multiplier, and McNemar's test on the examples of a task.

With losses (nats per token) of two arms on the same three seeds:

    losses = {"full": [4.00, 4.05, 3.98], "one-shot": [3.95, 4.01, 3.93]}
    noise = seed_noise(losses, "full")                     # residual_std 0.0041, 2 degrees of freedom
    pooled_interval([-0.05, -0.04, -0.05], noise)          # (-0.061, -0.032), around the mean -0.047
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy  # imports `scipy.stats`, which takes half a second, when it is first used

from deepen.study.results.schema import NO_NOISE, Bound, Interval, Noise


def seed_noise(losses: Mapping[str, Sequence[float]], baseline: str) -> Noise:
    """Estimate seed noise from the losses of each arm, in the same order of seeds.

    Arms share seeds (data order and initialization), so this is a randomized complete block design with seeds as
    blocks. The residual variance is pooled over all arms, which gives an estimate even with two seeds; it assumes
    that all arms are equally noisy.
    """
    table = np.array(list(losses.values()), dtype=float)
    arms, seeds = table.shape
    if seeds < 2:
        return NO_NOISE
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    freedom = (arms - 1) * (seeds - 1)
    return replace(
        NO_NOISE,
        baseline_seed_std=float(np.std(losses[baseline], ddof=1)),
        residual_std=math.sqrt(float((residual**2).sum()) / freedom) if freedom else None,
        degrees_of_freedom=freedom,
    )


def pooled_interval(differences: Sequence[float], noise: Noise, confidence: float = 0.95) -> Interval | None:
    """Student's t interval of the mean paired difference, with the noise pooled over arms."""
    if noise.residual_std is None:
        return None
    quantile = float(scipy.stats.t.ppf((1 + confidence) / 2, noise.degrees_of_freedom))
    half_width = quantile * noise.residual_std * math.sqrt(2 / len(differences))
    centre = float(np.mean(differences))
    return centre - half_width, centre + half_width


def own_interval(differences: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval of these paired differences alone; very wide with two or three seeds."""
    if len(differences) < 2:
        return None
    quantile = float(scipy.stats.t.ppf((1 + confidence) / 2, len(differences) - 1))
    half_width = quantile * float(scipy.stats.sem(differences))
    centre = float(np.mean(differences))
    return centre - half_width, centre + half_width


@dataclass(frozen=True, kw_only=True, slots=True)
class Multiplier:
    """Compute that the baseline needs for a loss ÷ compute used; only a bound if `bound` is set."""

    value: float
    bound: Bound | None


def compute_multiplier(
    loss: float, flops: float, baseline_flops: Sequence[float], baseline_losses: Sequence[float]
) -> Multiplier | None:
    """The compute at which the baseline reaches `loss`, divided by `flops`.

    The baseline's loss is interpolated between its measured budgets, linearly in log compute. A budget whose loss
    is not below the loss of every smaller budget is left out. Beyond the measured budgets, the nearest one gives a
    bound (`above`: the true multiplier is larger).

    Returns:
        None if fewer than two budgets are left.
    """
    points: list[tuple[float, float]] = []
    for budget, reached in sorted(zip(baseline_flops, baseline_losses, strict=True)):
        if not points or reached < points[-1][1]:
            points.append((budget, reached))
    if len(points) < 2:
        return None
    log_budgets = np.log([budget for budget, _ in points])
    losses = np.array([reached for _, reached in points])
    if loss < losses[-1]:
        return Multiplier(value=float(np.exp(log_budgets[-1])) / flops, bound=Bound.ABOVE)
    if loss > losses[0]:
        return Multiplier(value=float(np.exp(log_budgets[0])) / flops, bound=Bound.BELOW)
    return Multiplier(value=float(np.exp(np.interp(-loss, -losses, log_budgets))) / flops, bound=None)


def mcnemar(first: str, second: str) -> tuple[float, float]:
    """Difference in accuracy (first − second) and exact McNemar p-value, from a 0 or 1 per example."""
    only_first = sum(a > b for a, b in zip(first, second, strict=True))
    only_second = sum(a < b for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    p = float(scipy.stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return (only_first - only_second) / len(first), p
