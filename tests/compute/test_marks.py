from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.compute.accounting import flops_accounting
from deepen.compute.ledger import Ledger, phase_flops
from deepen.compute.marks import RecipeRun, nearest_schedule
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.rate import WSD
from deepen.schedule.recipes import RECIPES, get_recipe
from deepen.schedule.schedule import Schedule

MODEL, BATCH, CONTEXT = PRESETS["nano"], 1024, 64


def run(recipe: str, steps: int, model: ModelConfig = MODEL, **options: object) -> RecipeRun:
    """A run of a recipe against a baseline of `steps` steps."""
    return RecipeRun(
        recipe=get_recipe(recipe),
        options=options,
        model=model,
        batch_tokens=BATCH,
        context=CONTEXT,
        baseline_tokens=steps * BATCH,
    )


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(RECIPES)), st.integers(100, 2000), st.sampled_from([1.0, 1.4]))
def test_a_mark_is_the_nearest_whole_step_to_the_budget(recipe: str, steps: int, share: float):
    ledger = Ledger(model=MODEL)
    accounting = flops_accounting(ledger)
    budget = round(accounting.budget(run("full", steps).schedule(steps)) * share)
    schedule = accounting.mark(run(recipe, steps), budget)
    step_price = ledger.flops_per_token(schedule.trained_parts[-1], CONTEXT) * BATCH
    assert abs(accounting.price(schedule) - budget) <= step_price / 2


def test_a_large_vocabulary_and_a_narrow_model_meet_the_budget_too():
    model = ModelConfig(name="flat", depth=12, width=20, heads=2, context=64, vocab=50304)
    accounting = flops_accounting(Ledger(model=model))
    budget = accounting.budget(run("full", 1000, model).schedule(1000))
    for recipe in RECIPES:
        options = {"stages": 12} if recipe == "two-phase" else {}
        schedule = accounting.mark(run(recipe, 1000, model, **options), budget)
        assert abs(accounting.price(schedule) / budget - 1) < 0.001, recipe


def test_the_search_takes_the_steps_of_the_docstring():
    accounting = flops_accounting(Ledger(model=MODEL))
    budget = accounting.budget(run("full", 1000).schedule(1000))
    tried: dict[int, float] = {}

    def price(schedule: Schedule) -> float:
        tried[schedule.steps] = accounting.price(schedule) / budget
        return tried[schedule.steps] * budget

    assert nearest_schedule(run("two-phase", 1000), price, budget, "FLOPs").steps == 1429
    first = [(1024, 0.5946), (4096, 3.6666), (1429, 0.9996), (2762, 2.3326), (1430, 1.0006)]
    assert [(steps, round(share, 4)) for steps, share in tried.items()][:5] == first
    assert set(tried) - {steps for steps, _ in first} == {*range(1425, 1435)} - {1429, 1430}


def test_a_budget_that_ends_inside_the_staged_part_is_explained_with_numbers():
    with pytest.raises(InvalidValueError, match=r"1,000 steps, costs"):
        flops_accounting(Ledger(model=MODEL)).mark(run("two-phase", 1000), 10**9)


def test_the_error_of_a_recipe_that_fits_at_no_length_is_raised():
    with pytest.raises(ValueError, match="stages is 13"):
        flops_accounting(Ledger(model=MODEL)).mark(run("two-phase", 1000, stages=13), 10**12)


def test_an_error_in_a_price_is_not_taken_for_too_few_steps():
    def price(schedule: Schedule) -> float:
        raise ValueError("no price")

    with pytest.raises(ValueError, match="no price"):
        nearest_schedule(run("full", 100), price, 1.0, "FLOPs")


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize(
    ("recipe", "options"), [("full", {}), ("one-shot", {"start_depth": 1, "grow_at": 0.9}), ("two-phase", {})]
)
def test_a_decay_counted_in_compute_takes_that_share_of_the_flops(
    recipe: str, options: dict[str, Any], share: float
):
    """To within half a step, for a recipe that is shallow for most of its tokens too."""
    ledger = Ledger(model=MODEL)
    counted = replace(run(recipe, 400, **options), rate=WSD(decay_share=share, decay_in="compute"), ledger=ledger)
    schedule = counted.schedule(700)
    *_, decay = schedule.rate.pieces(schedule.grid)
    before, spent = 0, 0.0
    costs = phase_flops(ledger, schedule)
    for phase, cost in zip(schedule.phases, costs, strict=True):
        after = before + phase.tokens
        spent += cost * max(0, after - max(before, decay.start)) / phase.tokens
        before = after
    largest_step = max(cost / phase.tokens for phase, cost in zip(schedule.phases, costs, strict=True)) * BATCH
    assert spent == pytest.approx(share * sum(costs), abs=largest_step / 2)
    assert decay.end == schedule.tokens


def test_a_warmup_share_is_of_the_baselines_tokens_at_every_length():
    counted = replace(run("full", 400), rate=WSD(warmup_share=0.05))
    ends = {(schedule := counted.schedule(steps)).rate.pieces(schedule.grid)[0].end for steps in (300, 400, 900)}
    assert ends == {20 * BATCH}
