"""The cells of a map: the verdicts of its studies at equal exact FLOPs, at each of their budgets."""

from collections.abc import Iterator, Sequence

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
    """Whether an arm's purpose is to win against both baselines."""
    return not arm.is_control and arm.name not in (results.baseline, results.best_fixed_depth)


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
        beats_best_fixed_depth=_beats_depth(results, verdict),
        best_fixed_depth=results.best_fixed_depth,
        study=folder,
    )


def _beats_depth(results: Results, verdict: Verdict) -> bool | None:
    """Whether the arm of a verdict wins against the best fixed depth too; None if that is not known."""
    if not results.best_fixed_depth:
        return None
    found = [verdict] if results.best_fixed_depth == results.baseline else results.depth_verdicts
    for other in found:
        if (other.arm, other.accounting, other.budget_share) == (
            verdict.arm,
            verdict.accounting,
            verdict.budget_share,
        ):
            return other.outcome is Outcome.WINS
    return None
