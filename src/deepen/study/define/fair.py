"""The study `fair`: one model, several budgets, several recipes, by the rules of docs/fair-comparison.md.

For a model of 12 blocks:

    fair(model=PRESETS["nano"], budgets=(5, 10, 20, 40), recipes=("one-shot", "stack"))

    arms       full, one-shot (6 blocks, then 12), stack (3, then 12)
    controls   small 3 and small 6: the models that the two begin with, for all the compute
    budgets    5, 10, 20 and 40 tokens per parameter; each run ends in a decay of its own, from a shared trunk
    tuning     three rates for every arm and every constant depth, on a seed that is not reported
    depths     3, 4, 6, 8 and 12 blocks at the same compute: the best of them is the second baseline
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from deepen.compute.accounting import EXACT_FLOPS
from deepen.errors import InvalidValueError, is_number, listed, nearest
from deepen.model.config import ModelConfig
from deepen.model.presets import peak_rate, tokens_per_step
from deepen.schedule.grid import round_to_steps
from deepen.schedule.rate import WSD
from deepen.schedule.recipes import BASELINE, RECIPES, get_recipe
from deepen.schedule.recipes.stages import DEFAULT_STAGES
from deepen.study.define.arm import Arm
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.fair_presets import FairPreset, find_fair_preset
from deepen.study.define.study import Study
from deepen.study.define.tuning import Tuning, rates_around

FAIR_RECIPES = tuple(
    recipe.name
    for recipe in RECIPES.values()
    if not (recipe.is_control or recipe.needs_checkpoint or recipe.name == BASELINE.name)
)
"""The recipes that compete: those that grow, or unfreeze, a model with fresh weights."""

_DEPTH_SHARES = (Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), Fraction(2, 3), Fraction(1))
_VALIDATION_STEPS = 20
_WARMUP_SHARE = 0.1  # of the smallest budget, as all budgets have the same warm-up


def fair(
    *,
    model: ModelConfig | None = None,
    budgets: Sequence[float] | None = None,
    recipes: Sequence[str | Arm] | None = None,
    seeds: int | None = None,
    preset: str | FairPreset = "",
) -> Study:
    """Recipes, their controls and constant depths, at several budgets, every arm tuned alike.

    Rates are tuned at the largest budget. Growing recipes train the same model as the baseline; each shallow model
    that one begins with is an arm of its own (`small`), and so is `staged` where one trains in stages.

    Args:
        model: the model at its full depth; None for the preset's.
        budgets: tokens of the baseline per non-embedding parameter; None for the preset's.
        recipes: names of recipes, or arms with options of their own; None for the preset's.
        seeds: number of seeds; None for the preset's.
        preset: `gpu-20min` or `gpu-2h`, for an answer within that time on one GPU; empty for the defaults of
            `FairPreset`.

    Raises:
        InvalidValueError: a budget or a recipe that cannot be compared, or a preset that there is not.
    """
    chosen = find_fair_preset(preset)
    if model is not None:
        chosen = chosen.for_model(model)
    model = chosen.model
    peak = peak_rate(model) if chosen.peak is None else chosen.peak
    batch_tokens = tokens_per_step(model, model.context) if chosen.batch_tokens is None else chosen.batch_tokens
    validation_tokens = _VALIDATION_STEPS * batch_tokens
    if chosen.validation_tokens is not None:
        validation_tokens = min(chosen.validation_tokens, validation_tokens)
    budgets = chosen.budgets if budgets is None else budgets
    *earlier, tokens = _budget_tokens(model, budgets, batch_tokens)
    trial_share = 1.0 if chosen.trial_budget is None else min(1.0, chosen.trial_budget / max(budgets))
    arms = tuple(_make_arm(recipe) for recipe in (chosen.recipes if recipes is None else recipes))
    return Study(
        name="fair",
        model=model,
        tokens=tokens,
        earlier_tokens=tuple(earlier),
        batch_tokens=batch_tokens,
        context=model.context,
        arms=(Arm(name=BASELINE.name, recipe=BASELINE.name), *arms, *_controls(model, arms, tokens)),
        primary=arms[0].name if len(arms) == 1 else "",
        seeds=tuple(range(chosen.seeds if seeds is None else seeds)),
        evaluation=Evaluation(
            every_tokens=max(1, round_to_steps(tokens / chosen.curve_points, batch_tokens)) * batch_tokens,
            validation_tokens=validation_tokens,
            mark_tokens=chosen.mark_tokens,
        ),
        accountings=(EXACT_FLOPS,),
        rate=WSD(peak=peak, warmup_tokens=round(_WARMUP_SHARE * min((tokens, *earlier)))),
        settings=chosen.settings,
        tuning=Tuning(rates=rates_around(peak, chosen.trials), share=trial_share),
        depths=default_depths(model),
    )


def default_depths(model: ModelConfig) -> tuple[int, ...]:
    """Constant depths to compare with a model's own: from a quarter of it up; 3, 4, 6, 8 and 12 of 12 blocks."""
    return tuple(dict.fromkeys(max(1, round(model.depth * share)) for share in _DEPTH_SHARES))


def _budget_tokens(model: ModelConfig, budgets: Sequence[float], batch_tokens: int) -> list[int]:
    """The budgets in tokens of the baseline, in whole steps, in rising order.

    Larger ones are multiples of the smallest after rounding, so that 1.4 times a budget is exactly 0.7 times the
    double of it, and the baseline is measured there once.
    """
    if not budgets or not all(is_number(budget) and budget > 0 for budget in budgets):
        raise InvalidValueError(
            f"are {listed(budgets)}: they must be at least one number above 0", field="budgets", value=budgets
        )
    least = min(budgets)
    steps = max(1, round_to_steps(least * model.parameters_non_embedding, batch_tokens))
    return [round(steps * budget / least) * batch_tokens for budget in sorted(set(budgets))]


def _make_arm(recipe: str | Arm) -> Arm:
    if isinstance(recipe, Arm):
        return recipe
    if recipe not in FAIR_RECIPES:
        why = "is unknown"
        if recipe in RECIPES:
            why = "is the baseline" if recipe == BASELINE.name else "does not compete"
        raise InvalidValueError(
            f"{recipe!r} {why}{nearest(recipe, FAIR_RECIPES)}",
            field="recipes",
            value=recipe,
            allowed=FAIR_RECIPES,
            remedy=f"use some of {', '.join(FAIR_RECIPES)}; the baseline and the controls are added to them",
        )
    return Arm(name=recipe, recipe=recipe)


def _controls(model: ModelConfig, arms: Sequence[Arm], tokens: int) -> Iterator[Arm]:
    """The arms that show which part of a recipe helps: its stages without freezing, its shallow model alone."""
    staged = [arm for arm in arms if get_recipe(arm.recipe).has_staged_part]
    for stages in dict.fromkeys(arm.options.get("stages", DEFAULT_STAGES) for arm in staged):
        yield Arm(name=f"staged S={stages}", recipe="staged", options={"stages": stages})
    starts = {_start_depth(model, arm, tokens) for arm in arms} - {0, model.depth}
    for depth in sorted(starts):
        yield Arm(name=f"small {depth}", recipe="small", options={"start_depth": depth})


def _start_depth(model: ModelConfig, arm: Arm, tokens: int) -> int:
    """The depth at which an arm begins."""
    return get_recipe(arm.recipe).schedule(model, 2 * tokens, tokens, arm.options).phases[0].depth
