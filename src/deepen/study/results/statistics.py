"""What differences mean: intervals over seeds, the compute multiplier, McNemar on examples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedNoise:
    """The spread of a loss between seeds, in nats per token.

    `residual_std` is that of an arm's loss once arm and seed effects are taken out, over all arms of a
    comparison, with its degrees of freedom.
    """

    baseline_std: float | None
    residual_std: float | None
    degrees_of_freedom: int


def seed_noise(losses: Mapping[str, Sequence[float]], baseline: str) -> SeedNoise:
    """Seed noise from the losses of each arm, in the same order of seeds.

    Arms share seeds (data order and initialisation), so the design is a randomised complete block with seeds
    as blocks; its residual variance pools all arms, which is what makes two seeds say anything at all. It
    takes the noise of all arms to be alike.
    """
    table = np.array(list(losses.values()), dtype=float)
    arms, seeds = table.shape
    if seeds < 2:
        return SeedNoise(baseline_std=None, residual_std=None, degrees_of_freedom=0)
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + table.mean()
    freedom = (arms - 1) * (seeds - 1)
    return SeedNoise(
        baseline_std=float(np.std(losses[baseline], ddof=1)),
        residual_std=math.sqrt(float((residual**2).sum()) / freedom) if freedom else None,
        degrees_of_freedom=freedom,
    )


def pooled_interval(differences: Sequence[float], noise: SeedNoise, confidence: float = 0.95) -> Interval | None:
    """t interval of the mean paired difference, with the noise pooled over arms."""
    if noise.residual_std is None:
        return None
    quantile = float(stats.t.ppf((1 + confidence) / 2, noise.degrees_of_freedom))
    half = quantile * noise.residual_std * math.sqrt(2 / len(differences))
    middle = float(np.mean(differences))
    return middle - half, middle + half


def own_interval(differences: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """t interval of the mean paired difference from its own spread alone; very wide at two or three seeds."""
    if len(differences) < 2:
        return None
    half = float(stats.t.ppf((1 + confidence) / 2, len(differences) - 1)) * float(stats.sem(differences))
    middle = float(np.mean(differences))
    return middle - half, middle + half


def bootstrap_interval(differences: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Percentile bootstrap of the mean paired difference; needs five seeds to mean anything."""
    if len(differences) < 5:
        return None
    result = stats.bootstrap(
        (np.asarray(differences),), np.mean, confidence_level=confidence, method="percentile", rng=0
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


@dataclass(frozen=True, kw_only=True, slots=True)
class Multiplier:
    """Compute the baseline needs for a loss ÷ compute used; `bound` says that it is only a bound."""

    value: float
    bound: str | None


def compute_multiplier(
    loss: float, flops: float, baseline_flops: Sequence[float], baseline_losses: Sequence[float]
) -> Multiplier | None:
    """The compute at which the baseline reaches `loss`, over `flops`.

    The baseline's loss is interpolated between its measured budgets, linear in log compute; a budget at which
    it was no better than at a smaller one is passed over. Outside of them the nearest measured budget is a
    bound (`above`: the true multiplier is larger).

    Returns:
        None where fewer than two budgets are left.
    """
    points: list[tuple[float, float]] = []
    for budget, reached in sorted(zip(baseline_flops, baseline_losses, strict=True)):
        if not points or reached < points[-1][1]:
            points.append((budget, reached))
    if len(points) < 2:
        return None
    x, y = np.log([budget for budget, _ in points]), np.array([reached for _, reached in points])
    if loss < y[-1]:
        return Multiplier(value=float(np.exp(x[-1])) / flops, bound="above")
    if loss > y[0]:
        return Multiplier(value=float(np.exp(x[0])) / flops, bound="below")
    return Multiplier(value=float(np.exp(np.interp(-loss, -y, x))) / flops, bound=None)


def mcnemar(first: str, second: str) -> tuple[float, float]:
    """Difference in accuracy (first − second) and exact McNemar p-value, from strings of 0 and 1 per example."""
    only_first = sum(a > b for a, b in zip(first, second, strict=True))
    only_second = sum(a < b for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return (only_first - only_second) / len(first), p
