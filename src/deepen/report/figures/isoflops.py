"""Loss against constant depth at several budgets of equal compute: the isoFLOP curves of a study.

    budget      1 PFLOP    2 PFLOP    4 PFLOP
    lowest at       3.4        4.1        4.9 blocks
    at 20 t/p       2.6        3.7        5.2 blocks      the lines cross at 4.6 blocks: `DepthStudy.own_best`

At one budget, a deeper model trains on fewer tokens and has more parameters, so at each budget another depth is at
20 tokens per parameter. Where that depth is also the one with the lowest loss, it is the natural final depth for a
comparison at 20 tokens per parameter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log
from statistics import fmean

import numpy as np

from deepen.report.figures.depths import find_constant_depth
from deepen.report.summary.shown_names import with_shown_names
from deepen.report.summary.study_summary import summarize
from deepen.study.judge.best_depth import BestDepth, find_best_depth
from deepen.study.judge.multiplier import SAME_BUDGET
from deepen.study.results.schema import MarkResult, Results

RATIO = 20.0
"""Tokens per parameter at which the best depth is looked for."""

_MIN_DEPTHS = 3
_BEYOND = log(1.1)
"""How far outside of the measured budgets, in the logarithm, a minimum is still read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthAtBudget:
    """A constant depth at one budget: losses by seed, in nats per token, and tokens, which set its ratio."""

    depth: int
    tokens: float
    tokens_per_parameter: float
    losses: Mapping[int, float]

    @property
    def mean(self) -> float:
        """The mean loss over seeds."""
        return fmean(self.losses.values())


@dataclass(frozen=True, kw_only=True)
class IsoFlops:
    """The curve of one budget in FLOPs: its depths, rising, with the same seeds; `share` is of the study's."""

    budget: float
    share: float
    depths: tuple[DepthAtBudget, ...]

    @property
    def seeds(self) -> int:
        """The number of seeds, the same for all depths."""
        return len(self.depths[0].losses)

    def find(self, depth: int) -> DepthAtBudget:
        """The point of a depth, which must be one of `depths`."""
        return next(each for each in self.depths if each.depth == depth)

    @cached_property
    def best(self) -> BestDepth:
        """The best depth, with its uncertainty."""
        return find_best_depth({each.depth: tuple(each.losses.values()) for each in self.depths})


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnBest:
    """The depth that has the lowest loss at the budget at which it is at `RATIO`; its interval if it is known."""

    depth: float
    interval: tuple[float, float] | None
    budget: float


@dataclass(frozen=True, kw_only=True)
class DepthStudy:
    """The isoFLOP curves of a study, small budgets first.

    `title` has its width, family and parametrization, or its name where they are unknown. `own_budgets` has, for
    each depth, the FLOPs with which it is at `RATIO` tokens per parameter.
    """

    name: str
    title: str
    width: int
    curves: tuple[IsoFlops, ...]
    own_budgets: Mapping[int, float]

    @cached_property
    def own_best(self) -> OwnBest | None:
        """The depth that is best at its own `RATIO`; None if the measured budgets do not tell."""
        read = [curve for curve in self.curves if curve.best.minimum is not None]
        depth = self._find_own([(curve.budget, curve.best.minimum) for curve in read if curve.best.minimum])
        if depth is None:
            return None
        intervals = [(curve.budget, curve.best.interval) for curve in read if curve.best.interval]
        interval = None
        if len(intervals) == len(read):
            low, high = (self._find_own([(budget, each[side]) for budget, each in intervals]) for side in (0, 1))
            interval = None if low is None or high is None else (low, high)
        return OwnBest(depth=depth, interval=interval, budget=exp(self._log_own_budget(log(depth))))

    @property
    def nearest(self) -> IsoFlops:
        """The curve nearest to the budget of `own_best`; without one, to the own budget of its lowest depth."""

        def distance(curve: IsoFlops) -> float:
            own = self.own_best.budget if self.own_best else self.own_budgets[curve.best.lowest]
            return abs(log(own / curve.budget))

        return min(self.curves, key=distance)

    def _log_own_budget(self, log_depth: float) -> float:
        depths = sorted(self.own_budgets)
        return float(np.interp(log_depth, np.log(depths), [log(self.own_budgets[depth]) for depth in depths]))

    def _find_own(self, best: Sequence[tuple[float, float]]) -> float | None:
        """The depth that is best at its own budget.

        Args:
            best: budgets in FLOPs, rising, each with its best depth; between two, the depth is read on a line.

        Returns:
            None if that depth's own budget is not among the budgets, or none of the depths is best at its own.
        """
        if not best:
            return None
        budgets, depths = (np.log(values) for values in zip(*best, strict=True))
        candidates = np.linspace(log(min(self.own_budgets)), log(max(self.own_budgets)), 2001)
        own = np.array([self._log_own_budget(depth) for depth in candidates])
        above = np.interp(own, budgets, depths) - candidates  # above 0: a deeper one is best at this one's budget
        crossed = np.flatnonzero((above[:-1] >= 0) & (above[1:] <= 0))
        if not len(crossed):
            return None
        at = int(crossed[0])
        if not budgets[0] - _BEYOND <= own[at] <= budgets[-1] + _BEYOND:
            return None
        return exp(float(candidates[at]))


def read_depth_studies(group: Iterable[Results]) -> tuple[DepthStudy, ...]:
    """The isoFLOP curves of studies, narrow ones first; those without any are left out.

    Studies of one width, family and parametrization, with the same data and batch, are one: each may have another
    budget.
    """
    merged: dict[object, DepthStudy] = {}
    for results in group:
        study, regime = read_depth_study(results), results.regime
        if study is None:
            continue
        key = (study.title, regime.context, regime.vocab, regime.batch_tokens, regime.data.fingerprint)
        same = merged.get(key, study)
        curves = {curve.budget: curve for curve in (*same.curves, *study.curves)}
        merged[key] = replace(
            same,
            curves=tuple(curves[budget] for budget in sorted(curves)),
            own_budgets={**same.own_budgets, **study.own_budgets},
        )
    return tuple(sorted(merged.values(), key=lambda study: (study.width, study.title)))


def read_depth_study(results: Results) -> DepthStudy | None:
    """The isoFLOP curves of a study; None if it has fewer than three constant depths at any budget."""
    results = with_shown_names(results)
    summary, regime = summarize(results), results.regime
    depths = {arm.name: depth for arm in summary.arms if (depth := find_constant_depth(arm)) is not None}
    marks = [
        (depths[arm.name], arm.seed, mark)
        for arm in results.arms
        for mark in arm.marks
        if depths.get(arm.name) and mark.val_loss is not None and _has_budget(mark)
    ]
    parameters, blocks = regime.parameters_non_embedding or 0, regime.depth or 0
    if not marks or min(parameters, blocks) < 1:
        return None
    per_block = parameters / blocks
    curves = [_make_curve(share, found, per_block) for share, found in _group_by_budget(marks).items()]
    drawn = tuple(sorted((curve for curve in curves if curve), key=lambda curve: curve.budget))
    if not drawn:
        return None
    per_token = {depth: mark.flops / mark.tokens for depth, _, mark in marks}
    what = [f"width {regime.width}", regime.family, regime.parametrization]
    return DepthStudy(
        name=summary.name,
        title=", ".join(filter(None, what)) if regime.family else f"{summary.name}, width {regime.width}",
        width=regime.width or 0,
        curves=drawn,
        own_budgets={depth: RATIO * per_block * depth * flops for depth, flops in sorted(per_token.items())},
    )


def _has_budget(mark: MarkResult) -> bool:
    """Whether a mark at equal exact FLOPs has the numbers that place it in a figure."""
    budget = mark.flops if mark.budget_flops is None else mark.budget_flops
    return mark.is_exact and mark.tokens > 0 and min(mark.budget_share or 0, mark.flops, budget) > 0


_Mark = tuple[int, int, MarkResult]
"""Depth, seed and mark."""


def _group_by_budget(marks: Sequence[_Mark]) -> dict[float, list[_Mark]]:
    groups: dict[float, list[_Mark]] = {}
    for depth, seed, mark in marks:
        share = mark.budget_share or 1.0
        same = next((each for each in groups if abs(each / share - 1) < SAME_BUDGET), share)
        groups.setdefault(same, []).append((depth, seed, mark))
    return groups


def _make_curve(share: float, marks: Sequence[_Mark], per_block: float) -> IsoFlops | None:
    """The curve of a budget; depths that lack seeds are left out. None with fewer than `_MIN_DEPTHS` depths."""
    by_depth: dict[int, dict[int, MarkResult]] = {}
    for depth, seed, mark in marks:
        by_depth.setdefault(depth, {}).setdefault(seed, mark)
    seeds = max((frozenset(found) for found in by_depth.values()), key=len)
    depths = []
    for depth, found in sorted(by_depth.items()):
        if seeds <= found.keys():
            tokens = fmean(found[seed].tokens for seed in seeds)
            losses = {seed: loss for seed in sorted(seeds) if (loss := found[seed].val_loss) is not None}
            ratio = tokens / (per_block * depth)
            depths.append(DepthAtBudget(depth=depth, tokens=tokens, tokens_per_parameter=ratio, losses=losses))
    if len(depths) < _MIN_DEPTHS:
        return None
    budget = fmean(mark.budget_flops or mark.flops for _, _, mark in marks)
    return IsoFlops(budget=budget, share=share, depths=tuple(depths))
