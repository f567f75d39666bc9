import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.compute.ledger import Ledger, phase_flops
from deepen.compute.marks import flops_price, schedule_at_budget
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.recipes import BASELINE, RECIPES, get_recipe

MODEL, BATCH, CONTEXT = PRESETS["nano"], 1024, 64


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(RECIPES)), st.integers(100, 2000), st.sampled_from([1.0, 1.4]))
def test_a_mark_is_the_nearest_whole_step_to_the_budget(recipe: str, steps: int, share: float):
    ledger, tokens = Ledger(model=MODEL), steps * BATCH
    full = sum(phase_flops(ledger, BASELINE.schedule(MODEL, tokens, tokens, {}).in_steps(BATCH, CONTEXT)))
    budget = round(full * share)

    def make(total: int):
        return get_recipe(recipe).schedule(MODEL, total, tokens, {})

    schedule = schedule_at_budget(make, flops_price(ledger), budget, BATCH, CONTEXT)
    dearest_step = ledger.flops_per_token(schedule.trained_parts[-1], CONTEXT) * BATCH
    assert abs(sum(phase_flops(ledger, schedule)) - budget) <= dearest_step / 2


def test_a_large_vocabulary_and_a_narrow_model_meet_the_budget_too():
    model = ModelConfig(name="flat", depth=12, width=20, heads=2, context=64, vocab=50304)
    ledger, tokens = Ledger(model=model), 1000 * BATCH
    budget = sum(phase_flops(ledger, BASELINE.schedule(model, tokens, tokens, {}).in_steps(BATCH, CONTEXT)))
    for recipe in RECIPES:
        options = {"stages": 12} if recipe == "two-phase" else {}

        def make(total: int, recipe: str = recipe, options: dict[str, int] = options):
            return get_recipe(recipe).schedule(model, total, tokens, options)

        schedule = schedule_at_budget(make, flops_price(ledger), budget, BATCH, CONTEXT)
        assert abs(sum(phase_flops(ledger, schedule)) / budget - 1) < 0.001, recipe


def test_a_budget_that_ends_inside_the_staged_part_is_explained_with_numbers():
    ledger, tokens = Ledger(model=MODEL), 1000 * BATCH

    def make(total: int):
        return get_recipe("two-phase").schedule(MODEL, total, tokens, {})

    with pytest.raises(ValueError, match=r"1,000 steps, costs"):
        schedule_at_budget(make, flops_price(ledger), 10**9, BATCH, CONTEXT)
