"""The cells of a map: the verdicts of its studies at equal exact FLOPs, at each of their budgets."""

from collections.abc import Iterator, Sequence

from deepen.study.judge.multiplier import SAME_BUDGET
from deepen.study.map.schema import MapCell, MapModel
from deepen.study.results.regime import Regime
from deepen.study.results.schema import ArmResult, MarkResult, Results, Verdict
from deepen.study.results.verdict_schema import Outcome


def read_cells(results: Results, folder: str) -> Iterator[MapCell]:
    """The cells of one study, arm by arm, from small budgets to large.

    Controls, and arms of a constant depth, have none.

    Args:
        results: the results of the study.
        folder: its folder, relative to the map's.
    """
    arms = {arm.name: arm for arm in results.arms if _competes(arm, results)}
    baseline = [arm for arm in results.arms if arm.name == results.baseline]
    references = [mark for arm in baseline for mark in arm.marks if mark.is_exact]
    verdicts = [verdict for verdict in results.verdicts if verdict.is_exact and verdict.arm in arms]
    order = list(arms)
    for verdict in sorted(verdicts, key=lambda v: (order.index(v.arm), v.budget_share or 1.0)):
        reference = _find_nearest(references, verdict)
        yield _make_cell(results, verdict, arms[verdict.arm], reference.tokens, folder)


def read_model(regime: Regime) -> MapModel:
    """The model of a study."""
    return MapModel(
        name=regime.model,
        depth=regime.depth or 0,
        width=regime.width or 0,
        parameters_non_embedding=regime.parameters_non_embedding or 0,
        vocab=regime.vocab or 0,
        context=regime.context or 0,
    )


def _competes(arm: ArmResult, results: Results) -> bool:
    """Whether an arm grows, and its purpose is to win."""
    return not arm.is_control and not arm.has_constant_depth and arm.name != results.baseline


def _find_nearest(marks: Sequence[MarkResult], verdict: Verdict) -> MarkResult:
    """The mark at the budget of a verdict, which may differ by a step's rounding."""
    share = verdict.budget_share or 1.0
    return min(marks, key=lambda mark: abs((mark.budget_share or 1.0) - share))


def _make_cell(results: Results, verdict: Verdict, arm: ArmResult, tokens: int, folder: str) -> MapCell:
    model = read_model(results.regime)
    return MapCell(
        model=model,
        arm=arm.name,
        recipe=arm.recipe,
        options=arm.options,
        tokens_per_parameter=tokens / model.parameters_non_embedding if model.parameters_non_embedding else 0.0,
        tokens=tokens,
        budget_flops=verdict.budget_flops,
        seeds=verdict.seeds,
        multiplier=verdict.compute_multiplier,
        bound=verdict.multiplier_bound,
        interval=verdict.multiplier_interval,
        bounds=verdict.multiplier_interval_bounds,
        withheld=verdict.multiplier_withheld,
        seconds_multiplier=verdict.seconds_multiplier,
        seconds_interval=verdict.seconds_multiplier_interval,
        difference=verdict.difference,
        difference_interval=verdict.interval,
        outcome=verdict.outcome or Outcome.CANNOT_TELL,
        beats_best_fixed_depth=_beats_depths(results, verdict),
        best_fixed_depth=_find_best_depth(results, verdict),
        depths_better=verdict.depths_better,
        depths_at_edge=verdict.depths_at_edge,
        study=folder,
    )


def _beats_depths(results: Results, verdict: Verdict) -> bool | None:
    """Whether the arm of a verdict beats every constant depth at its budget.

    None if depths were not tried, or if one that trials have chosen is not measured there with all seeds yet.
    """
    if not results.best_fixed_depth:
        return None
    if verdict.depths_not_beaten:
        return False
    found = results.tuning.best_depths if results.tuning else ()
    chosen = {results.best_fixed_depth, *(best.arm for best in found)}
    return True if chosen <= {*verdict.depths_beaten} else None


def _find_best_depth(results: Results, verdict: Verdict) -> str:
    """The constant depth with the lowest loss at the budget of a verdict; empty if depths were not tried."""
    if not results.best_fixed_depth or verdict.loss is None or verdict.difference is None:
        return ""
    losses = {results.baseline: verdict.loss - verdict.difference} | {
        other.arm: other.loss
        for other in results.verdicts
        if other.loss is not None and other.is_exact and _is_same_budget(other, verdict)
    }
    depths = (name for name in (*verdict.depths_beaten, *verdict.depths_not_beaten) if name in losses)
    return min(depths, key=lambda name: losses[name], default="")


def _is_same_budget(one: Verdict, other: Verdict) -> bool:
    """Whether two verdicts are at one budget, apart from the rounding to whole steps."""
    return abs((one.budget_share or 1.0) / (other.budget_share or 1.0) - 1) < SAME_BUDGET
