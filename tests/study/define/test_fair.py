"""The study `fair`: budgets in tokens per parameter, controls, and paired seeds."""

from dataclasses import replace

import pytest

from deepen.errors import InvalidValueError
from deepen.model.presets import PRESETS
from deepen.schedule.recipes import get_recipe
from deepen.study.compile.marks import compile_marks
from deepen.study.compile.tree import compile_study
from deepen.study.define.arm import Arm
from deepen.study.define.fair import default_depths, fair

NANO = PRESETS["nano"]
BASELINE = Arm(name="full", recipe="full")


def test_budgets_are_tokens_per_parameter_in_rising_order():
    study = fair(model=NANO, budgets=(20, 5, 10))
    for tokens, budget in zip((*study.earlier_tokens, study.tokens), (5, 10, 20), strict=True):
        assert tokens / NANO.parameters_non_embedding == pytest.approx(budget, rel=0.01)
        assert tokens % study.batch_tokens == 0


def test_the_baseline_is_measured_once_where_two_budgets_need_the_same_compute():
    """0.7 times a budget is 1.4 times the half of it."""
    study = fair(model=NANO, budgets=(5, 10, 20))
    steps = [mark.schedule.steps for mark in compile_marks(study, BASELINE)]
    assert len(steps) == len(set(steps)) == 3 * len(study.anchors) - 2
    assert min(abs(a - b) for a in steps for b in steps if a != b) > 0.1 * min(steps)


def test_every_arm_is_compared_at_every_budget():
    study = fair(model=NANO, budgets=(5, 10), recipes=("stack", "two-phase"))
    for arm in study.arms:
        budgets = {mark.budget_flops for mark in compile_marks(study, arm)}
        assert budgets >= {mark.budget_flops for mark in compile_marks(study, study.arms[-1])}


def test_runs_share_their_trunks():
    tree = compile_study(replace(fair(), tuning=None, depths=()), data_fingerprint="")
    assert tree.tokens < 0.65 * tree.tokens_if_separate


def test_each_shallow_model_that_a_recipe_begins_with_is_a_control_and_so_are_stages_without_freezing():
    study = fair(model=NANO, recipes=("one-shot", "stack", "two-phase"))
    names = [arm.name for arm in study.arms]
    assert names == ["full", "one-shot", "stack", "two-phase", "staged S=4", "small 3", "small 6"]
    controls = [arm for arm in study.arms if get_recipe(arm.recipe).is_control]
    assert [arm.options for arm in controls] == [{"stages": 4}, {"start_depth": 3}, {"start_depth": 6}]


def test_a_recipe_may_be_an_arm_with_options_and_a_single_one_is_primary():
    late = Arm(name="late", recipe="one-shot", options={"start_depth": 4, "grow_at": 0.7})
    study = fair(model=NANO, recipes=(late,))
    assert [arm.name for arm in study.arms] == ["full", "late", "small 4"] and study.primary == "late"
    assert fair(model=NANO).primary == ""


@pytest.mark.parametrize("depth", [1, 2, 5, 6, 24])
def test_depths_reach_up_to_that_of_the_model(depth: int):
    depths = default_depths(replace(NANO, depth=depth))
    assert list(depths) == sorted(set(depths)) and depths[-1] == depth and depths[0] >= 1
    assert default_depths(NANO) == (3, 4, 6, 8, 12)


@pytest.mark.parametrize("recipe", ["full", "small", "staged", "expand", "one-sho"])
def test_only_recipes_that_compete_are_taken(recipe: str):
    with pytest.raises(InvalidValueError, match=recipe) as refused:
        fair(recipes=(recipe,))
    assert refused.value.field == "recipes" and "one-shot" in refused.value.allowed


@pytest.mark.parametrize("budgets", [(), (0,), (5, -1), (float("nan"),), ("5",)])
def test_budgets_are_numbers_above_0(budgets: tuple[float, ...]):
    with pytest.raises(InvalidValueError) as refused:
        fair(budgets=budgets)
    assert refused.value.field == "budgets"


def test_one_budget_is_enough() -> None:
    study = fair(model=PRESETS["nano"], budgets=(20,), recipes=("one-shot",), seeds=1)
    assert study.earlier_tokens == ()
