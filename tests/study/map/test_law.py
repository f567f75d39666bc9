"""One law for all sizes of a map: what it recovers, how often its intervals hold, what it refuses to hide."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from deepen.errors import InvalidValueError
from deepen.study.map.law import fit_laws, predict
from deepen.study.map.schema import MapCell, MapModel, MapResults
from deepen.study.results.verdict_schema import Bound

RATIOS = (5, 10, 20, 40)


def _model(log_n: float, name: str = "new") -> MapModel:
    return MapModel.from_json(
        {"name": name, "depth": 12, "width": 64, "parameters_non_embedding": round(math.exp(log_n))}
    )


LogMultiplier = Callable[[int, float, float], float]
"""From the index of a model, ln parameters and ln tokens per parameter."""


def _map(sizes: Sequence[float], log_multiplier: LogMultiplier, ratios: Sequence[float] = RATIOS) -> MapResults:
    cells = [
        MapCell.from_json({
            "arm": "one-shot",
            "model": _model(log_n, f"model{i}").to_json(),
            "tokens_per_parameter": ratio,
            "multiplier": math.exp(log_multiplier(i, log_n, math.log(ratio))),
        })
        for i, log_n in enumerate(sizes)
        for ratio in ratios
    ]  # fmt: skip
    return MapResults.from_json({"cells": cells, "law": fit_laws(cells)})


def test_a_law_without_scatter_is_recovered_and_extrapolates_on_its_line() -> None:
    found = _map((11, 12, 13, 14.5), lambda i, n, r: 0.1 + 0.02 * (n - 12) - 0.05 * r)
    model = _model(16)
    predicted = predict(found, "one-shot", model, 80 * model.parameters_non_embedding)
    truth = math.exp(0.1 + 0.02 * 4 - 0.05 * math.log(80))
    assert predicted.multiplier == pytest.approx(truth, rel=1e-5)
    assert predicted.interval == pytest.approx((truth, truth), rel=1e-3)
    assert len(predicted.outside) == 2  # parameters and tokens per parameter
    assert "parameters without embeddings" in predicted.outside[0]


def test_inside_the_measured_range_nothing_is_said_of_outside() -> None:
    found = _map((11, 12, 13, 14), lambda i, n, r: 0.1)
    model = _model(12.5)
    assert predict(found, "one-shot", model, 20 * model.parameters_non_embedding).outside == []


@pytest.mark.parametrize(("sizes", "size_std", "shared"), [(3, 0.05, 0.9), (4, 0.02, 0.5), (5, 0.05, 0.0)])
def test_intervals_hold_for_models_that_were_not_measured(sizes: int, size_std: float, shared: float) -> None:
    """Whether cells of a model share their errors or not, and whether models deviate from the law or not."""
    generator, error, studies, held = np.random.default_rng(0), 0.03, 300, 0
    log_n = [float(n) for n in np.linspace(11, 15, sizes)]
    for _ in range(studies):
        level = generator.normal(0, size_std, sizes) + generator.normal(0, error * math.sqrt(shared), sizes)
        own = generator.normal(0, error * math.sqrt(1 - shared), (sizes, len(RATIOS)))
        errors = {(i, math.log(r)): level[i] + own[i, j] for i in range(sizes) for j, r in enumerate(RATIOS)}

        def measured(i: int, n: float, r: float, errors: dict[tuple[int, float], float] = errors) -> float:
            return 0.02 * n - 0.05 * r + errors[i, r]

        found = _map(log_n, measured)
        model, ratio = _model(generator.uniform(11, 15)), math.exp(generator.uniform(math.log(5), math.log(40)))
        n = math.log(model.parameters_non_embedding)
        truth = math.exp(0.02 * n - 0.05 * math.log(ratio) + generator.normal(0, size_std))
        interval = predict(found, "one-shot", model, ratio * model.parameters_non_embedding).interval
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert held / studies > 0.93


def test_one_model_gives_a_multiplier_but_no_interval() -> None:
    found = _map((12,), lambda i, n, r: 0.3 - 0.05 * r)
    model = found.models[0]
    predicted = predict(found, "one-shot", model, 10 * model.parameters_non_embedding)
    assert predicted.multiplier == pytest.approx(math.exp(0.3 - 0.05 * math.log(10)), rel=1e-3)
    assert predicted.interval is None
    assert predicted.outside == ["one model was measured, so how much models differ is not known"]


def test_bounds_are_named() -> None:
    found = _map((11, 12, 13), lambda i, n, r: 0.1)
    cells = (replace(found.cells[0], bound=Bound.ABOVE), *found.cells[1:])
    found = replace(found, cells=cells, law=fit_laws(cells))
    model = found.models[1]
    predicted = predict(found, "one-shot", model, 10 * model.parameters_non_embedding)
    assert predicted.outside == ["multipliers that are only bounds, and count as these: 1 of 12"]


def test_one_budget_gives_a_law_without_tokens_per_parameter() -> None:
    found = _map((11, 12, 13, 14), lambda i, n, r: 0.1, ratios=(20,))
    assert found.law.recipes["one-shot"].features == ("1", "ln parameters")


def test_a_recipe_without_a_multiplier_is_refused_with_those_that_have_one() -> None:
    found = _map((11, 12), lambda i, n, r: 0.1)
    with pytest.raises(InvalidValueError, match="use one-shot"):
        predict(found, "stack", found.models[0], 1e6)
