"""What a measured map and the ledger suggest for a model and a budget, and what they leave unknown.

    advice = advise(load_map("deepen-runs/map"), model, tokens=20_000_000_000)
    advice.conclusion, advice.reasons          # Conclusion.TEST_FIRST, ("width 1,024: measured 20 to 64, ...",)
    advice.arms[0].multiplier                  # 1.21

A recipe is recommended only if every part of the evidence is there: the model and the budget lie in the measured
range, the interval of the multiplier lies above 1, and the nearest measured cell shows that the recipe beats every
constant depth too. Whatever is missing is a reason, and the conclusion is to test first. Needs no torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from deepen.compute.plan_recipe import plan_recipe
from deepen.model.config import ModelConfig
from deepen.schedule.recipes import RECIPES
from deepen.study.map.law import predict
from deepen.study.map.schema import MapCell, MapResults
from deepen.study.results.tuning import OptionValue
from deepen.study.results.verdict_schema import Interval, Outcome

CONFIDENCE = 0.95
"""Of the intervals of all recipes together (Bonferroni's inequality), as the best of several is looked at."""

MEASURED_MAP = Path(str(files("deepen.study.map"))) / "measured.json"
"""The map that ships with the package: that of docs/results/map.md."""


class Conclusion(StrEnum):
    """What is advised."""

    GROW = "grow"
    FULL_DEPTH = "train at full depth"
    TEST_FIRST = "test first"


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmAdvice:
    """What the map and the ledger say of one recipe.

    Attributes:
        arm: its name in the map.
        recipe, options: how it would be trained; options are those of the nearest cell, for this model.
        is_control: whether it is a control, which is never recommended.
        multiplier: the predicted compute multiplier.
        interval: that of this model; None if the map cannot tell how much models differ.
        outside: why the prediction is more than an interpolation; empty if it is one.
        ceiling: the multiplier if a step of the shallow model taught no more than one of the deep model: FLOPs of
            full training ÷ its own at as many tokens; None if it does not fit the model, or trains as full depth.
        cells: the cells that measured it.
        wins: in how many it wins against full training.
        depth_cells, depth_wins: the same for all constant depths of a cell.
        nearest: the cell whose model and tokens per parameter are nearest.
    """

    arm: str
    recipe: str
    options: Mapping[str, OptionValue]
    is_control: bool
    multiplier: float
    interval: Interval | None
    outside: tuple[str, ...]
    ceiling: float | None
    cells: int
    wins: int
    depth_cells: int
    depth_wins: int
    nearest: MapCell

    @property
    def exceeds_ceiling(self) -> bool:
        """Whether the multiplier is an extrapolation beyond the ceiling: no saving should be read from it."""
        return bool(self.outside) and self.ceiling is not None and self.multiplier > self.ceiling

    @property
    def saved_share(self) -> float:
        """The share of the compute that it saves where it reaches the loss of full training."""
        return 1 - 1 / self.multiplier

    @property
    def saved_interval(self) -> Interval | None:
        """The interval of `saved_share`."""
        return None if self.interval is None else (1 - 1 / self.interval[0], 1 - 1 / self.interval[1])

    @property
    def seconds_factor(self) -> float | None:
        """Multiplier in measured seconds ÷ that in FLOPs, in the nearest cell; None if it was not measured."""
        cell = self.nearest
        if cell.seconds_multiplier is None or not cell.multiplier:
            return None
        return cell.seconds_multiplier / cell.multiplier


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """The advice for a model and a budget.

    Attributes:
        model: the model at its full depth.
        tokens: tokens of full training, in whole steps.
        flops: exact FLOPs of full training.
        arms: the recipes of the map, the largest multiplier first, controls last; empty if no map was measured.
        ceilings: for each recipe of deepen's that grows, with its defaults, the `ArmAdvice.ceiling`; those that do
            not fit the model are left out.
        conclusion: what is advised for the first of `arms`.
        reasons: the evidence, each in a clause: what is missing, or what was found.
    """

    model: ModelConfig
    tokens: int
    flops: int
    arms: tuple[ArmAdvice, ...]
    ceilings: Mapping[str, float]
    conclusion: Conclusion
    reasons: tuple[str, ...]

    @property
    def tokens_per_parameter(self) -> float:
        """Tokens of full training for each parameter, embeddings not counted."""
        return self.tokens / self.model.parameters_non_embedding

    @property
    def best(self) -> ArmAdvice | None:
        """The recipe with the largest multiplier that is not a control; None if there is none."""
        return next((arm for arm in self.arms if not arm.is_control), None)


def advise(
    found: MapResults | None, model: ModelConfig, tokens: float, *, batch_tokens: int | None = None
) -> Advice:
    """Advise for a model and a budget.

    Args:
        found: a measured map; None for what the ledger alone says.
        model: the model at its full depth.
        tokens: tokens of full training.
        batch_tokens: tokens of a step; by default the usual ones for the model.

    Raises:
        InvalidValueError: the budget is less than a step.
    """
    full = plan_recipe("full", model=model, tokens=tokens, batch_tokens=batch_tokens).baseline
    arms = (
        []
        if found is None
        else [_advise_arm(found, arm, model, tokens, batch_tokens) for arm in found.law.recipes]
    )
    arms.sort(key=lambda arm: (arm.is_control, -arm.multiplier))
    ceilings = _find_ceilings(model, tokens, batch_tokens)
    conclusion, reasons = _conclude(arms, can_grow=bool(ceilings))
    return Advice(
        model=model,
        tokens=full.schedule.tokens,
        flops=full.flops,
        arms=tuple(arms),
        ceilings=ceilings,
        conclusion=conclusion,
        reasons=tuple(reasons),
    )


def _advise_arm(
    found: MapResults, arm: str, model: ModelConfig, tokens: float, batch_tokens: int | None
) -> ArmAdvice:
    cells = [cell for cell in found.cells if cell.arm == arm]
    nearest = min(cells, key=lambda cell: _distance(cell, model, tokens))
    multiplier, interval, outside = predict(
        found, arm, model, tokens, confidence=1 - (1 - CONFIDENCE) / len(found.law.recipes)
    )
    options = _scale_depths(nearest, model)
    compared = [cell for cell in cells if cell.beats_best_fixed_depth is not None]
    return ArmAdvice(
        arm=arm,
        recipe=nearest.recipe,
        options=options,
        is_control=nearest.recipe in RECIPES and RECIPES[nearest.recipe].is_control,
        multiplier=multiplier,
        interval=interval,
        outside=tuple(outside),
        ceiling=_find_ceiling(nearest.recipe, options, model, tokens, batch_tokens),
        cells=len(cells),
        wins=sum(cell.outcome is Outcome.WINS for cell in cells),
        depth_cells=len(compared),
        depth_wins=sum(cell.beats_best_fixed_depth is True for cell in compared),
        nearest=nearest,
    )


def _distance(cell: MapCell, model: ModelConfig, tokens: float) -> float:
    """How far a cell is from a model and a budget, in e-folds of parameters and of tokens per parameter."""
    size = model.parameters_non_embedding
    ratio = cell.tokens_per_parameter * size / tokens
    return abs(math.log(cell.model.parameters_non_embedding / size)) + abs(math.log(ratio))


def _scale_depths(cell: MapCell, model: ModelConfig) -> dict[str, OptionValue]:
    """The options of a cell, a number of blocks as the same share of the model's."""
    options = dict(cell.options)
    depth = options.get("start_depth")
    if isinstance(depth, int) and depth > 0 and cell.model.depth:
        options["start_depth"] = max(1, round(depth * model.depth / cell.model.depth))
    return options


def _find_ceiling(
    recipe: str, options: Mapping[str, OptionValue], model: ModelConfig, tokens: float, batch_tokens: int | None
) -> float | None:
    """`ArmAdvice.ceiling`."""
    try:
        plan = plan_recipe(recipe, options=options, model=model, tokens=tokens, batch_tokens=batch_tokens)
    except ValueError:
        return None
    return None if plan.equal_tokens is None else plan.baseline.flops / plan.equal_tokens.flops


def _find_ceilings(model: ModelConfig, tokens: float, batch_tokens: int | None) -> dict[str, float]:
    """`Advice.ceilings`."""
    growing = [recipe.name for recipe in RECIPES.values() if not (recipe.is_control or recipe.needs_checkpoint)]
    ceilings = {name: _find_ceiling(name, {}, model, tokens, batch_tokens) for name in growing}
    return {name: ceiling for name, ceiling in ceilings.items() if ceiling is not None and ceiling > 1}


def _conclude(arms: Sequence[ArmAdvice], *, can_grow: bool) -> tuple[Conclusion, list[str]]:
    """What is advised, and why; `can_grow`: whether any recipe grows to the model."""
    if not can_grow:
        return Conclusion.FULL_DEPTH, ["no recipe grows to this depth"]
    growing = [arm for arm in arms if not arm.is_control]
    if not growing:
        return Conclusion.TEST_FIRST, ["no map has measured a recipe that grows"]
    best = growing[0]
    missing = [*best.outside]
    if best.exceeds_ceiling:
        missing.append(
            f"the multiplier exceeds its ceiling of {best.ceiling:.2f}: only a test shows whether full depth is "
            "so much too deep"
        )
    if best.interval is None:
        missing.append("the map has too few models for an interval")
    elif not missing and all(arm.interval is not None and arm.interval[1] < 1 for arm in growing):
        return Conclusion.FULL_DEPTH, [f"{best.arm} promises most, and the interval of every recipe lies below 1"]
    elif best.interval[0] <= 1:
        missing.append("the interval is not above 1: the map cannot tell whether growing pays here")
    missing += _compare_with_depth(best)
    if missing:
        return Conclusion.TEST_FIRST, missing
    return Conclusion.GROW, [
        "the interval lies above 1, model and budget lie in the measured range, and the nearest cell shows that "
        f"{best.arm} beats every constant depth too"
    ]


def _compare_with_depth(best: ArmAdvice) -> list[str]:
    """What is missing to say that growing pays against every constant depth too."""
    cell = best.nearest
    where = f"in the nearest cell ({cell.model.name}, {cell.tokens_per_parameter:.3g} tokens per parameter)"
    if cell.beats_best_fixed_depth is None:
        return [f"it was not compared with the best fixed depth {where}: fewer blocks may do as well"]
    if not cell.beats_best_fixed_depth:
        best_depth = f", of which {cell.best_fixed_depth} is the best" if cell.best_fixed_depth else ""
        return [f"it does not beat every constant depth {where}{best_depth}: fewer blocks may do as well"]
    if cell.depths_at_edge:
        depths = " and ".join(cell.depths_at_edge)
        return [f"the rate of {depths} is at the edge of those tried {where}: another may be better"]
    return []
