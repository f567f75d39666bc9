"""Recipes that say the same in other words share every segment, so a study trains it once."""

from typing import Any

import pytest

from deepen.growth.layout import parse_layout
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.schedule import Schedule
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study


def looped_by_hand(model: ModelConfig, tokens: int) -> Schedule:
    """A looped middle, untied by an explicit layout."""
    layers = parse_layout("0-1,2-5,2-5,6-7")
    return Schedule(
        phases=(
            Phase(depth=12, tokens=tokens // 2, label="tied", layers=layers),
            Phase(depth=12, tokens=tokens - tokens // 2, label="all of its own"),
        ),
        growth=Growth(layout=layers, moments="copy"),
    )


def frozen_by_hand(model: ModelConfig, tokens: int) -> Schedule:
    """Everything is trained throughout, in two phases."""
    half = tokens // 2
    return Schedule(phases=tuple(Phase(depth=12, tokens=part, label="all") for part in (half, tokens - half)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("stack", {"growth_factor": 4}), ("one-shot", {"start_depth": 3, "operator": "stack"})),
        (("stack", {"growth_factor": 2}), ("one-shot", {"start_depth": 6, "layout": "0-5,0-5"})),
        (("gradual", {"depths": (6, 12), "grow_at": 0.5}), ("stack", {"growth_factor": 2})),
        (("gradual", {"stages": 3, "partition": "3,3,6"}), ("gradual", {"depths": (3, 6, 12)})),
        (("middle", {}), ("gradual", {"operator": "middle"})),
        (("middle", {"new_blocks": 4}), ("middle", {"new_blocks": 4, "grow_at": (1 / 6, 0.5)})),
        (("middle", {"new_blocks": 6}), ("middle", {"new_blocks": 6, "variant": "lidas"})),
        (("loop-untie", {}), (looped_by_hand, {})),
        (("one-shot", {"residual_scale": 0.0}), ("one-shot", {"operator": "copy-zero"})),
        (("unfreeze", {"stages": 1}), ("full", {})),
        (("gradual", {"stages": 1}), (frozen_by_hand, {})),
    ],
)
def test_two_ways_to_write_a_recipe_have_the_same_keys(one: tuple[Any, Any], other: tuple[Any, Any]):
    study = Study(
        name="same",
        model=ModelConfig(name="m", depth=12, width=16, heads=2, context=16, vocab=64),
        tokens=64_000,
        batch_tokens=64,
        context=16,
        arms=tuple(
            Arm(name=name, recipe=recipe, options=options)
            for name, (recipe, options) in (("one", one), ("other", other))
        ),
        baseline="one",
        evaluation=Evaluation(every_tokens=6_400, validation_tokens=512),
    )
    tree = compile_study(study, data_fingerprint="")
    keys = {name: {route.keys for route in tree.routes if route.arm.name == name} for name in ("one", "other")}
    # As the baseline, the first arm has marks at other budgets too.
    assert keys["other"] and keys["other"] <= keys["one"]
