"""One law for all sizes of a map: how a recipe's multiplier depends on parameters and tokens per parameter.

For each recipe, with N parameters without embeddings, r tokens per parameter, and means over the measured cells:

    ln multiplier = a + b (ln N - mean ln N) + c (ln r - mean ln r)

Cells of one model share seeds, data and a baseline, so their errors are not independent, and a model can deviate
from the law as a whole. Therefore each model counts as one observation: c is estimated within models, a model's
level is its mean at the mean r, and a and b are fitted to the levels. All errors are estimated from the scatter
between models, with as many degrees of freedom as models minus coefficients (a "summary measures" analysis:
Matthews et al., BMJ 300:230, 1990). b needs at least four models; with fewer, a trend counts as scatter.

    predict(load_map("map"), "one-shot", model, tokens)    # Prediction(multiplier=1.2, interval=(1.05, 1.37), ...)
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from deepen.errors import InvalidValueError, join_or
from deepen.study.judge.strata import student_quantile
from deepen.study.map.schema import CONSTANT, PARAMETERS, RATIO, MapCell, MapLaw, MapResults, RecipeLaw
from deepen.study.results.verdict_schema import Interval

MIN_SIZES_FOR_TREND = 4


class Size(Protocol):
    """What of a model the law depends on, or its measured range is stated in; a `ModelConfig` has it."""

    @property
    def depth(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def parameters_non_embedding(self) -> int: ...  # noqa: D102


class Prediction(NamedTuple):
    """A multiplier that a map predicts.

    Attributes:
        multiplier: the expected compute multiplier.
        interval: where that of one model lies, with 95 % if the law holds; None if the map has one model only.
        outside: why the prediction is more than an interpolation; one clause per reason, empty if there is none.
    """

    multiplier: float
    interval: Interval | None
    outside: list[str]


def fit_laws(cells: Sequence[MapCell]) -> MapLaw:
    """Fit the law of each arm that has a multiplier in some cell."""
    measured = [cell for cell in cells if cell.multiplier is not None and cell.multiplier > 0]
    arms = dict.fromkeys(cell.arm for cell in measured)
    return MapLaw(recipes={arm: _fit([cell for cell in measured if cell.arm == arm]) for arm in arms})


def predict(found: MapResults, arm: str, model: Size, tokens: float, confidence: float = 0.95) -> Prediction:
    """Predict the compute multiplier of a recipe for a model and a budget.

    Args:
        found: the map.
        arm: an arm of the map; the recipe's name, unless the map has several arms of one recipe.
        model: the model at its full depth.
        tokens: tokens of full training.
        confidence: that of the interval.

    Raises:
        InvalidValueError: the map has no law for the recipe.
    """
    laws = found.law.recipes
    if arm not in laws:
        known = f"use {join_or(laws)}" if laws else "none of its cells has a multiplier"
        raise InvalidValueError(
            f"{arm!r} has no law in this map: {known}", field="recipe", value=arm, allowed=laws
        )
    law = laws[arm]
    values = {PARAMETERS: model.parameters_non_embedding, RATIO: tokens / model.parameters_non_embedding}
    row = np.array([
        1.0 if name == CONSTANT else math.log(values[name]) - centre
        for name, centre in zip(law.features, law.centres, strict=True)
    ])  # fmt: skip
    expected = float(row @ np.array(law.coefficients))
    interval = None
    if law.residual_std is not None:
        scatter = law.residual_std**2
        if RATIO in law.features:
            scatter += ((law.slope_std or 0.0) * row[law.features.index(RATIO)]) ** 2
        deviation = math.sqrt(float(row @ np.array(law.covariance) @ row) + scatter)
        reach = deviation * student_quantile(law.degrees_of_freedom, confidence)
        interval = _exp(expected - reach), _exp(expected + reach)
    cells = [cell for cell in found.cells if cell.arm == arm and cell.multiplier is not None]
    return Prediction(_exp(expected), interval, _find_outside(law, cells, model, values[RATIO]))


def _fit(cells: Sequence[MapCell]) -> RecipeLaw:
    """Fit the law of one arm to its cells, which have multipliers."""
    y = np.log([cell.multiplier or math.nan for cell in cells])
    log_n = np.log([cell.model.parameters_non_embedding for cell in cells])
    log_r = np.log([cell.tokens_per_parameter for cell in cells])
    names = [cell.model.name for cell in cells]
    groups = [np.array([each == name for each in names]) for name in dict.fromkeys(names)]
    sizes, centre_r = len(groups), float(log_r.mean())

    slope, slope_variance, slope_std = _fit_within(y, log_r, groups)
    levels = np.array([(y[group] - slope * (log_r[group] - centre_r)).mean() for group in groups])
    level_n = np.array([log_n[group][0] for group in groups])
    has_trend = sizes >= MIN_SIZES_FOR_TREND and np.ptp(level_n) > 0
    between = np.column_stack([np.ones(sizes), level_n - level_n.mean()][: 2 if has_trend else 1])
    fitted = np.linalg.lstsq(between, levels, rcond=None)[0]
    freedom = sizes - between.shape[1]
    residual = float(((levels - between @ fitted) ** 2).sum())
    variance = residual / freedom if freedom else 0.0

    features = [CONSTANT, PARAMETERS][: between.shape[1]]
    centres = [0.0, float(level_n.mean())][: between.shape[1]]
    coefficients = [float(each) for each in fitted]
    covariance = np.linalg.inv(between.T @ between) * variance
    if np.ptp(log_r) > 0:
        features, centres, coefficients = [*features, RATIO], [*centres, centre_r], [*coefficients, slope]
        covariance = np.pad(covariance, (0, 1))
        covariance[-1, -1] = slope_variance
    return RecipeLaw(
        features=tuple(features),
        centres=tuple(centres),
        coefficients=tuple(coefficients),
        covariance=tuple(tuple(map(float, row)) for row in covariance) if freedom else (),
        residual_std=math.sqrt(variance) if freedom else None,
        slope_std=slope_std if freedom else None,
        degrees_of_freedom=freedom,
        n=len(cells),
        n_sizes=sizes,
        n_bounds=sum(cell.bound is not None for cell in cells),
    )


def _fit_within(y: np.ndarray, x: np.ndarray, groups: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """The common slope within groups, its variance, and the deviation of one group's slope from it."""
    own_x = [x[group] - x[group].mean() for group in groups]
    products = [float(centred @ y[group]) for centred, group in zip(own_x, groups, strict=True)]
    squares = [float(centred @ centred) for centred in own_x]
    total = sum(squares)
    if not total:
        return 0.0, 0.0, 0.0
    slope, count = sum(products) / total, sum(square > 0 for square in squares)
    if count < 2:
        return slope, 0.0, 0.0
    scatter = sum((product - slope * square) ** 2 for product, square in zip(products, squares, strict=True))
    variance = scatter / total**2 * count / (count - 1)
    return slope, variance, math.sqrt(variance * count)


def _find_outside(law: RecipeLaw, cells: Sequence[MapCell], model: Size, ratio: float) -> list[str]:
    """Why a prediction for a model and tokens per parameter is more than an interpolation."""
    reasons = []
    for what, value, measured in (
        (
            "parameters without embeddings",
            model.parameters_non_embedding,
            [c.model.parameters_non_embedding for c in cells],
        ),
        ("tokens per parameter", ratio, [cell.tokens_per_parameter for cell in cells]),
        ("depth", model.depth, [cell.model.depth for cell in cells]),
        ("width", model.width, [cell.model.width for cell in cells]),
    ):
        low, high = min(measured), max(measured)
        if not 0.99 * low <= value <= 1.01 * high:  # budgets are rounded to whole steps
            seen = _format(low) if low == high else f"{_format(low)} to {_format(high)}"
            times = value / high if value > high else low / value
            side = "above" if value > high else "below"
            reasons.append(f"{what} {_format(value)}: measured {seen}, {_format(times)} times {side} it")
    if law.n_sizes == 1:
        reasons.append("one model was measured, so how much models differ is not known")
    if law.n_bounds:
        reasons.append(f"multipliers that are only bounds, and count as these: {law.n_bounds} of {law.n}")
    return reasons


def _exp(value: float) -> float:
    """The exponential; values whose exponential overflows become infinite."""
    return math.exp(value) if value < 700 else math.inf


def _format(value: float) -> str:
    """A number in full: 1,760; 66.16."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
