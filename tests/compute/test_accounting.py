import pytest

from deepen.compute.accounting import PaperAccounting, flops_accounting, seconds_accounting
from deepen.compute.ledger import Ledger
from deepen.compute.marks import RecipeRun
from deepen.model.presets import PRESETS
from deepen.schedule.recipes import BASELINE, RECIPES, get_recipe

BATCH = 1024


def run(recipe: str, steps: int, **options: object) -> RecipeRun:
    """A run of a recipe against a baseline of `steps` steps."""
    return RecipeRun(
        recipe=get_recipe(recipe),
        options=options,
        model=PRESETS["nano"],
        batch_tokens=BATCH,
        context=64,
        baseline_tokens=steps * BATCH,
    )


@pytest.mark.parametrize(("stages", "steps"), [(4, 14_688), (8, 15_469), (12, 15_729)])
def test_the_papers_marks(stages: int, steps: int):
    paper, arm = PaperAccounting(), run("two-phase", 10_000, stages=stages)
    assert paper.mark(arm, paper.budget(run("full", 10_000).schedule(10_000))).steps == steps


def test_the_papers_accounting_is_for_recipes_with_a_closed_form_against_full_training():
    paper = PaperAccounting()
    assert [name for name in RECIPES if paper.applies_to(run(name, 100), BASELINE)] == ["two-phase"]
    assert not paper.applies_to(run("two-phase", 100), get_recipe("small"))


def test_seconds_by_a_clock_that_counts_flops_give_the_marks_of_flops():
    ledger = Ledger(model=PRESETS["nano"])
    flops = flops_accounting(ledger)
    seconds = seconds_accounting(
        lambda phase, trained: phase.tokens * ledger.flops_per_token(trained, phase.context)
    )
    baseline = run("full", 500).schedule(500)
    for recipe in RECIPES:
        arm = run(recipe, 500)
        mark = flops.mark(arm, flops.budget(baseline))
        assert seconds.mark(arm, seconds.budget(baseline)) == mark
        assert seconds.staged_share(arm, mark, baseline) == flops.staged_share(arm, mark, baseline)
