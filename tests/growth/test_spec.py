"""How growth is written, and what is refused."""

import json
from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.study.compile.keys import canonical


@pytest.mark.parametrize(
    ("field", "wrong"), [("operator", "stak"), ("placement", "upstairs"), ("moments", "keeep")]
)
def test_unknown_names_are_refused_when_a_growth_is_made(field: str, wrong: str):
    with pytest.raises(InvalidValueError, match=f"{field} '{wrong}' is unknown") as refused:
        Growth(**{field: wrong})
    assert refused.value.field == field and refused.value.allowed


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"layout": (0, 0), "operator": "stack"},
            "operator is stack, but layout names the blocks to copy: leave it",
        ),
        ({"layout": (0, 0), "placement": "top"}, "layout places all blocks: leave out placement"),
        ({"layout": (0, "1")}, "layout has '1': it must be the index of a block"),
        ({"layout": (0, -1)}, "layout has -1: it must be the index of a block"),
        ({"noise": 0.1}, "noise is 0.1, but operator 'random' copies no blocks: leave it out"),
        ({"noise": -0.1, "operator": "stack"}, "noise is -0.1: it must be a number of 0 or more"),
        ({"noise": float("nan"), "operator": "stack"}, "noise is nan: it must be a number of 0 or more"),
        ({"residual_scale": 0.5}, "residual_scale is 0.5, but operator 'random' copies no blocks: leave it out"),
        (
            {"residual_scale": 0.5, "operator": "copy-zero"},
            "residual_scale is 0.5, but operator 'copy-zero' makes the output zero: leave it out",
        ),
        ({"rewarm_tokens": -1}, "rewarm_tokens is -1: it must be a number of 0 or more"),
        ({"rewarm": "some"}, "rewarm 'some' is unknown: use new-blocks or all"),
    ],
)
def test_options_that_do_not_go_together_are_refused_when_a_growth_is_made(options: dict[str, Any], problem: str):
    with pytest.raises(InvalidValueError) as refused:
        Growth(**options)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    ("growth", "old", "depth", "problem"),
    [
        (Growth(layout=(0, 1, 0)), 2, 4, "layout has 3 blocks, but the model grows to 4"),
        (Growth(layout=(0, 1, 2)), 2, 3, "layout has block 2, but the model has 2 blocks: use 0 to 1"),
        (Growth(operator="last"), 0, 2, "operator 'last' copies blocks, and the model has none: use random or "),
        (Growth(), 3, 3, "depth is 3, but the model has 3 blocks already: growth only adds"),
    ],
)
def test_growth_that_does_not_fit_the_model_is_refused(growth: Growth, old: int, depth: int, problem: str):
    with pytest.raises(InvalidValueError) as refused:
        growth.resolve(old, depth)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Growth(operator="stack"), Growth(layout=(0, 1, 2, 0, 1, 2))),
        (Growth(operator="interleave", moments="copy"), Growth(layout=(0, 0, 1, 1, 2, 2), moments="copy")),
        (Growth(operator="copy-zero"), Growth(layout=(0, 0, 1, 1, 2, 2), operator="copy-zero")),
        (Growth(operator="copy-zero"), Growth(operator="interleave", residual_scale=0)),
        (Growth(operator="last"), Growth(operator="stack", residual_scale=1)),  # as many blocks as there are
        (Growth(moments="copy"), Growth(moments="keep")),  # nothing is copied
        (Growth(operator="stack", rewarm_tokens=9), Growth(operator="stack")),  # the segment holds the re-warm
    ],
)
def test_two_ways_to_write_a_growth_are_one_step(one: Growth, other: Growth):
    assert one != other and one.resolve(3, 6) == other.resolve(3, 6)
    assert json.dumps(canonical(one.resolve(3, 6))) == json.dumps(canonical(other.resolve(3, 6)))


def test_an_empty_placement_becomes_the_operators_default():
    assert Growth(operator="interleave") == Growth(operator="interleave", placement="interleaved")
    assert Growth() == Growth(operator="random", placement="top", moments="keep")


@pytest.mark.parametrize(
    ("growth", "layers", "preserves"),
    [
        (Growth(operator="untie"), (0, 1, 0, 1), True),
        (Growth(layout=(0, 1, 0, 1)), (0, 1, 0, 1), True),
        (Growth(operator="untie", noise=0.1), (0, 1, 0, 1), False),
        (Growth(operator="identity"), (0, 1, 0, 1), False),  # two layers of the four remain
        (Growth(operator="stack", residual_scale=0, noise=0.1), (0, 1, 0, 1), False),
        (Growth(operator="stack", residual_scale=0, noise=0.1), (), True),
        (Growth(operator="identity"), (1, 0), False),
        (Growth(layout=(1, 0, 1, 0), operator="copy-zero"), (1, 0), True),
    ],
)
def test_shared_layers_are_compared_with_the_blocks_after_growth(
    growth: Growth, layers: tuple[int, ...], preserves: bool
):
    assert growth.resolve(2, 4, layers).preserves_function(2, layers) == preserves
