"""What a map found, in sentences."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from deepen.report.map.grid import label_budgets
from deepen.report.units import capitalized, count, fixed, join, plural
from deepen.study.judge.strata import student_quantile
from deepen.study.map.law import MIN_SIZES_FOR_TREND
from deepen.study.map.schema import PARAMETERS, RATIO, MapResults, RecipeLaw
from deepen.study.results.verdict_schema import Outcome

_DOUBLING = {PARAMETERS: "parameters", RATIO: "tokens per parameter"}


def describe_map(found: MapResults) -> str:
    """The headline: in how many cells growing pays, against both baselines."""
    cells = found.cells
    if not cells:
        return "No cell of the map is measured yet."
    wins = [cell for cell in cells if cell.outcome is Outcome.WINS]
    loses = sum(cell.outcome is Outcome.LOSES for cell in cells)
    unsure = len(cells) - len(wins) - loses
    beats_all = [cell for cell in wins if cell.beats_best_fixed_depth]
    both, at_edge = len(beats_all), sum(bool(cell.depths_at_edge) for cell in beats_all)
    known = any(cell.beats_best_fixed_depth is not None for cell in cells)
    text = f"In {len(wins)} of {len(cells)} cells a growing recipe beats full training"
    if wins:
        text += f", in {both} of them every constant depth too" if known else ""
    text += f"; in {loses} it loses, and in {unsure} it cannot be told."
    if at_edge:
        edge = "the rate of a beaten depth is at the edge of those tried"
        text += f" In {at_edge} of the {both}, shown as (✓), {edge}."
    if worse := sum(bool(cell.depths_better) for cell in cells):
        text += f" In {worse} of {len(cells)}, shown as ✗, it loses to a constant depth."
    if known and wins and not both:
        text += " So growing is not shown to pay anywhere here: a constant depth may do as well."
    return text


def describe_scope(found: MapResults) -> str:
    """What was measured: models, budgets, recipes, seeds."""
    models, cells = found.models, found.cells
    if not cells:
        return ""
    sizes = [count(model.parameters_non_embedding) for model in models]
    seeds = sorted({len(cell.seeds) for cell in cells})
    return (
        f"{capitalized(plural(len(models), 'model'))} ({join(sizes)} parameters without embeddings), "
        f"{join(label_budgets(found))} tokens per parameter, {join(found.arms)}; "
        f"{join([str(each) for each in seeds])} {'seed' if seeds == [1] else 'seeds'}, at equal exact FLOPs."
    )


def describe_withheld(found: MapResults) -> list[str]:
    """In how many cells no multiplier is claimed, for each reason."""
    reasons = Counter(cell.withheld for cell in found.cells if cell.multiplier is None and cell.withheld)
    return [f"No multiplier in {n} of {len(found.cells)} cells: {reason}." for reason, n in reasons.items()]


def describe_laws(found: MapResults) -> list[str]:
    """The law of each arm in a sentence."""
    return [_describe_law(arm, law) for arm, law in found.law.recipes.items()]


def describe_shared(found: MapResults) -> str:
    """How many tokens were trained, compared with separate runs; empty if unknown."""
    trained, separate = found.sharing.tokens_trained, found.sharing.tokens_if_separate
    if not trained or not separate:
        return ""
    return (
        f"{count(trained)} tokens were trained, {fixed(trained / separate, 2)} of the {count(separate)} that "
        "separate runs would have trained."
    )


def _describe_law(arm: str, law: RecipeLaw) -> str:
    quantile = student_quantile(law.degrees_of_freedom, 0.95) if law.residual_std is not None else None
    parts = []
    for i, (feature, coefficient) in enumerate(zip(law.features, law.coefficients, strict=True)):
        ends: Sequence[float] = ()
        unit = math.log(2) if feature in _DOUBLING else 1.0
        if quantile is not None:
            reach = quantile * math.sqrt(max(law.covariance[i][i], 0.0))
            ends = [math.exp(unit * min(coefficient + side * reach, 700.0)) for side in (-1, 1)]
        interval = f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
        number = f"{math.exp(unit * coefficient):.2f}{interval}"
        if feature in _DOUBLING:
            parts.append(f"each doubling of {_DOUBLING[feature]} multiplies it by {number}")
        else:
            parts.append(f"{arm}: a multiplier of {number} in the middle of what was measured")
    return "; ".join([*parts, *_law_limits(law)]) + "."


def _law_limits(law: RecipeLaw) -> Iterator[str]:
    if law.n_sizes == 1:
        yield "one model, so that there is no interval"
    elif law.n_sizes < MIN_SIZES_FOR_TREND:
        yield f"from {plural(law.n_sizes, 'model')}, too few for a trend with size"
    if law.n_bounds:
        yield f"multipliers that are only bounds: {law.n_bounds} of {law.n}"
