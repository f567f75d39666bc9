"""Excess loss since growth, averaged over seeds, and in sentences (see `deepen.study.results.excess`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

import numpy as np

from deepen.report.summary.averages import SeedRange
from deepen.report.summary.decided_growth import describe_depths
from deepen.report.units import count, decimal_places, signed
from deepen.study.results.excess import Excess, excess_since_growth, find_crossing
from deepen.study.results.schema import ArmResult, GrowthResult, Interval, Results

PANELS = {"tokens": "At equal tokens", "compute": "At equal compute"}
"""The two ways to compare a grown arm with the baseline, with their titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcessPoint:
    """The excess at a number of tokens since growth; `is_before_decay` as in `Excess`, for all seeds."""

    tokens: float
    loss: SeedRange
    is_before_decay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcessAtEnd:
    """The excess at the end of a run, at equal compute, where both rates have decayed: what a verdict compares.

    `tokens` are those since the last growth, `interval` is the verdict's joint interval, and `is_whole_budget`
    whether the run is that of the study's budget.
    """

    tokens: float
    difference: float
    interval: Interval | None
    is_whole_budget: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmExcess:
    """The excess of an arm for each of `PANELS`, since its last growth; `growths` has that growth of each seed.

    `ends` are the ends of its runs, one for each budget, small ones first.
    """

    arm: str
    growths: tuple[GrowthResult, ...]
    curves: Mapping[str, tuple[ExcessPoint, ...]]
    ends: tuple[ExcessAtEnd, ...] = ()

    def before_decay(self, panel: str) -> tuple[ExcessPoint, ...]:
        """The points at which no rate has begun to decay."""
        return tuple(point for point in self.curves[panel] if point.is_before_decay)


def summarize_excess(results: Results) -> tuple[ArmExcess, ...]:
    """Average the excess of each arm that grew over its seeds; with names as in `results`."""
    by_arm: dict[str, dict[int, list[Excess]]] = {}
    for excess in excess_since_growth(results):
        by_arm.setdefault(excess.arm, {}).setdefault(excess.seed, []).append(excess)
    growths = {(arm.name, arm.seed): arm.growths[-1] for arm in results.arms if arm.growths}
    return tuple(
        ArmExcess(
            arm=name,
            growths=tuple(growths[name, seed] for seed in seeds),
            curves={panel: _average(list(seeds.values()), panel) for panel in PANELS},
            ends=_find_ends(results, name),
        )
        for name, seeds in by_arm.items()
    )


def _find_ends(results: Results, name: str) -> tuple[ExcessAtEnd, ...]:
    """The ends of an arm's runs; where a plateau decided when to grow, only that of the study's budget.

    An arm with a smaller budget grows after the same share of its tokens.
    """
    arm = next(arm for arm in results.arms if arm.name == name)
    exact = [verdict for verdict in results.verdicts if verdict.arm == name and verdict.is_exact]
    compared = [verdict for verdict in exact if verdict.tokens and verdict.difference is not None]
    whole = next((verdict.tokens for verdict in compared if verdict.is_whole_budget), None)
    if not whole:
        return ()
    share = min(_last_growth(arm) / whole, 1.0)
    ends = [
        ExcessAtEnd(
            tokens=(verdict.tokens or 0) * (1 - share),
            difference=verdict.difference or 0.0,
            interval=verdict.interval,
            is_whole_budget=verdict.is_whole_budget,
        )
        for verdict in compared
        if verdict.is_whole_budget or not arm.growths[-1].trigger
    ]
    return tuple(sorted(ends, key=lambda end: end.tokens))


def _last_growth(arm: ArmResult) -> int:
    """The tokens at the last growth of the run to equal compute; in older files, that of the longest run."""
    starts = accumulate((phase.tokens for phase in arm.phases), initial=0)
    grown = [start for start, phase in zip(starts, arm.phases, strict=False) if phase.new_layers]
    return grown[-1] if grown else arm.growths[-1].tokens


def _average(seeds: Sequence[Sequence[Excess]], panel: str) -> tuple[ExcessPoint, ...]:
    """The mean over seeds, from the tokens at which all of them are measured to those at which all still are.

    A seed that was measured at other tokens since its growth is read between its points.
    """
    curves = [
        {each.tokens_since_growth: found for each in seed if (found := _read(each, panel))} for seed in seeds
    ]
    if not all(curves):
        return ()
    begin, end = max(map(min, curves)), min(map(max, curves))
    decay = min(
        max((tokens for tokens, (_, is_before) in curve.items() if is_before), default=-1) for curve in curves
    )
    points = []
    for tokens in sorted({tokens for curve in curves for tokens in curve if begin <= tokens <= end}):
        losses = [_interpolate(tokens, curve) for curve in curves]
        points.append(
            ExcessPoint(
                tokens=tokens,
                loss=SeedRange(fmean(losses), min(losses), max(losses)),
                is_before_decay=tokens <= decay,
            )
        )
    return tuple(points)


def _interpolate(tokens: float, curve: Mapping[int, tuple[float, bool]]) -> float:
    return float(np.interp(float(tokens), [*map(float, curve)], [float(loss) for loss, _ in curve.values()]))


def _read(excess: Excess, panel: str) -> tuple[float, bool] | None:
    """The excess of a panel, and whether it is before any decay; None if it was not measured."""
    if panel == "tokens":
        return None if excess.loss is None else (excess.loss, excess.is_before_decay)
    loss = excess.loss_at_compute
    return None if loss is None else (loss, excess.is_before_decay_at_compute)


def describe_excess(excess: ArmExcess) -> str:
    """When an arm grew, and when it caught up with the baseline, in one or two sentences."""
    first = excess.growths[0]
    low, high = (f(growth.tokens for growth in excess.growths) for f in (min, max))
    when = f"{count(low)} tokens" if low == high else f"{count(low)} to {count(high)} tokens, by seed"
    grew = f"{excess.arm} last grew {describe_depths(first)}, after {when}."
    found = [_describe_crossing(excess, panel) for panel in PANELS]
    if not any(found):
        return f"{grew} It was not measured between its growth and the decay of the learning rate."
    return f"{grew} {'; '.join(sentence for sentence in found if sentence)}."


def _describe_crossing(excess: ArmExcess, panel: str) -> str:
    """When the excess falls to zero for good, before any decay; empty if it was not measured after growth."""
    points = {point.tokens: point.loss.mean for point in excess.before_decay(panel) if point.tokens > 0}
    if not points:
        return ""
    where = PANELS[panel] if panel == "tokens" else PANELS[panel].lower()
    crossing = find_crossing(points)
    if crossing is None:
        last = max(points)
        return (
            f"{where} its loss is still above full training’s, {count(last)} tokens later "
            f"({signed(points[last], decimal_places([points[last]]))})"
        )
    if crossing == min(points):
        first = f"the first measurement on, {count(crossing)} tokens later"
        return f"{where} its loss is below full training’s from {first}"
    return f"{where} its loss falls to full training’s, {count(crossing)} tokens later"
