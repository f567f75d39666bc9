"""Excess loss since growth: how far a grown model is behind the baseline, and when it has caught up.

The excess is the validation loss of the grown arm minus that of the baseline with the same seed. It is measured at
equal tokens, where both have trained on the same batches, and at equal compute, where the baseline has trained on
fewer. An arm has caught up where the first falls to zero, and growing begins to pay where the second does. For an
arm that grew at 100 tokens and was evaluated every 50:

    tokens                          100    150    200    250
    tokens since growth               0     50    100    150
    loss of the arm                4.40   4.60   4.20   4.05
    loss of the baseline           4.30   4.20   4.15   4.10
    excess at equal tokens        +0.10  +0.40  +0.05  -0.05    catches up after 125 tokens

Only losses at the same stage of the learning rate can be compared: a decay lowers the loss by itself. Each excess
says whether neither of the two rates had begun to decay for good (`is_before_decay`).
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log

from deepen.study.results.records import Record
from deepen.study.results.schema import ArmResult, CurvePoint, Results

DECAYED = 0.99
"""A rate below this share of its highest value has begun to decay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Excess(Record):
    """The excess loss of an arm with one seed at a point since its last growth, in nats per token.

    `is_before_decay` and `is_before_decay_at_compute`: whether neither rate had begun to decay, at equal tokens
    and at equal compute. A loss is None where one of the two runs was not validated, or did not get so far.
    """

    arm: str
    seed: int
    tokens: int
    tokens_since_growth: int
    depth: int | None
    loss: float | None
    training_loss: float | None
    is_before_decay: bool
    loss_at_compute: float | None
    is_before_decay_at_compute: bool


def excess_since_growth(results: Results) -> tuple[Excess, ...]:
    """The excess of all arms that grew, at each point of their curves since the last growth."""
    baselines = {arm.seed: arm for arm in results.arms if arm.name == results.baseline}
    return tuple(
        excess
        for arm in results.arms
        if arm.name != results.baseline and arm.growths and arm.seed in baselines
        for excess in _excess(arm, baselines[arm.seed])
    )


def _excess(arm: ArmResult, baseline: ArmResult) -> Iterator[Excess]:
    grown_at = arm.growths[-1].tokens
    at_tokens = {point.tokens: point for point in baseline.curve}
    measured = (point for point in baseline.curve if point.val_loss is not None and point.flops >= 1)
    validated = sorted(measured, key=lambda point: point.flops)
    arm_decays, baseline_decays = find_decay_start(arm.curve), find_decay_start(baseline.curve)
    for point in arm.curve:
        if point.tokens < grown_at:
            continue
        other, reached = at_tokens.get(point.tokens), _loss_at(validated, point.flops)
        if other is None and reached is None:
            continue
        yield Excess(
            arm=arm.name,
            seed=arm.seed,
            tokens=point.tokens,
            tokens_since_growth=point.tokens - grown_at,
            depth=point.depth,
            loss=_difference(point.val_loss, None if other is None else other.val_loss),
            training_loss=_difference(point.train_loss, None if other is None else other.train_loss),
            is_before_decay=point.tokens <= min(arm_decays.tokens, baseline_decays.tokens),
            loss_at_compute=_difference(point.val_loss, reached),
            is_before_decay_at_compute=(
                point.tokens <= arm_decays.tokens and point.flops <= baseline_decays.flops
            ),
        )


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a run; infinite where it never gets there."""

    tokens: float
    flops: float


def find_decay_start(curve: Sequence[CurvePoint]) -> Position:
    """The last point of a curve at which its rate was as high as it ever was; infinite if it never decays."""
    rates = [(point.lr, point) for point in curve if point.lr is not None]
    if not rates:
        return Position(inf, inf)
    highest = max(lr for lr, _ in rates)
    last = [point for lr, point in rates if lr >= DECAYED * highest][-1]
    return Position(inf, inf) if last is rates[-1][1] else Position(last.tokens, last.flops)


def _loss_at(validated: Sequence[CurvePoint], flops: float) -> float | None:
    """The loss of a run at a number of FLOPs, between two validations in proportion to the logarithm."""
    above = bisect_left(validated, flops, key=lambda point: point.flops)
    if above < len(validated) and validated[above].flops == flops:
        return validated[above].val_loss
    if above in (0, len(validated)):
        return None
    low, high = validated[above - 1], validated[above]
    assert low.val_loss is not None and high.val_loss is not None
    share = log(flops / low.flops) / log(high.flops / low.flops)
    return low.val_loss + share * (high.val_loss - low.val_loss)


def _difference(loss: float | None, other: float | None) -> float | None:
    return None if loss is None or other is None else loss - other


def find_crossing(points: Mapping[float, float]) -> float | None:
    """The position from which an excess stays at zero or below.

    Args:
        points: the excess by position, in rising order.

    Returns:
        The position, between two points in proportion; None if the last excess is above zero, or there is none.
    """
    positions = list(points)
    above = [index for index, position in enumerate(positions) if points[position] > 0]
    if not positions or (above and above[-1] == len(positions) - 1):
        return None
    if not above:
        return positions[0]
    before, after = positions[above[-1]], positions[above[-1] + 1]
    share = points[before] / (points[before] - points[after])
    return before + share * (after - before)
