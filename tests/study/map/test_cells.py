"""The cells of a map are the verdicts of its studies, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from deepen.study.map.cells import read_cells
from deepen.study.results.schema import Results
from deepen.study.results.verdict_schema import Outcome

BUDGET = 1e9


def _mark(share: float, tokens: int) -> dict[str, Any]:
    return {
        "accounting": "flops",
        "budget_share": share,
        "budget_flops": BUDGET * share,
        "tokens": tokens,
        "val_loss": 4.0,
    }


def _verdict(
    arm: str, share: float, outcome: str = "wins", accounting: str = "flops", **more: Any
) -> dict[str, Any]:
    return {
        "arm": arm,
        "accounting": accounting,
        "budget_share": share,
        "budget_flops": BUDGET * share,
        "difference": -0.1,
        "compute_multiplier": 1.1,
        "outcome": outcome,
        "seeds": [0, 1],
    } | more


def _results(**changes: Any) -> Results:
    arms = [
        {"name": "full", "recipe": "full", "seed": 0, "marks": [_mark(0.5, 1000), _mark(1.0, 2000)]},
        {"name": "one-shot", "recipe": "one-shot", "seed": 0, "options": {"grow_at": 0.7}},
        {"name": "small 2", "recipe": "small", "seed": 0},
        {
            "name": "depth 3",
            "recipe": "small",
            "is_control": False,
            "seed": 0,
            "phases": [{"depth": 3, "trained": "all", "layers": []}],
        },
    ]
    content = {
        "study": "fair",
        "baseline": "full",
        "regime": {"model": "4x64", "depth": 4, "width": 64, "parameters_non_embedding": 100},
        "arms": arms,
        "best_fixed_depth": "depth 3",
        "verdicts": [
            _verdict("one-shot", 1.0, loss=3.9, depths_beaten=["full"], depths_not_beaten=["depth 3"]),
            _verdict("one-shot", 0.5, loss=3.9, depths_beaten=["full", "depth 3"]),
            _verdict("one-shot", 1.0, accounting="paper"),
            _verdict("small 2", 1.0),
            _verdict("depth 3", 1.0, loss=3.8),
            _verdict("depth 3", 0.4999, loss=4.1),
        ],
    }
    return Results.from_json(content | changes)


def test_a_cell_is_a_growing_arm_at_a_budget_in_exact_flops() -> None:
    cells = list(read_cells(_results(), "studies/4x64"))
    assert [(cell.arm, cell.tokens, cell.tokens_per_parameter) for cell in cells] == [
        ("one-shot", 1000, 10.0),
        ("one-shot", 2000, 20.0),
    ]
    assert cells[0].options == {"grow_at": 0.7}
    assert cells[0].model.parameters_non_embedding == 100
    assert cells[0].study == "studies/4x64"


def test_a_budget_that_differs_by_a_steps_rounding_is_the_same() -> None:
    """As 7 tokens per parameter, and 0.7 times 10."""
    [cell] = read_cells(_results(verdicts=[_verdict("one-shot", 0.4999)]), "")
    assert cell.tokens == 1000


def test_every_constant_depth_of_the_same_budget_counts() -> None:
    small, large = read_cells(_results(), "")
    assert (small.beats_best_fixed_depth, large.beats_best_fixed_depth) == (True, False)
    assert (small.best_fixed_depth, large.best_fixed_depth) == ("full", "depth 3")


@pytest.mark.parametrize(
    ("chosen", "beaten", "unbeaten", "found"),
    [
        ("depth 3", ["full", "depth 3"], [], True),
        ("depth 2", ["full", "depth 3"], [], None),  # the best depth of a smaller budget is still in training
        ("depth 3", ["full"], [], None),
        ("depth 2", ["full"], ["depth 3"], False),
    ],
)
def test_a_depth_that_trials_chose_must_be_measured_before_a_cell_beats_all(
    chosen: str, beaten: list[str], unbeaten: list[str], found: bool | None
) -> None:
    verdict = _verdict("one-shot", 1.0, loss=3.9, depths_beaten=beaten, depths_not_beaten=unbeaten)
    tuning = {"best_depths": [{"budget_share": 0.5, "arm": chosen}, {"budget_share": 1.0, "arm": "depth 3"}]}
    [cell] = read_cells(_results(verdicts=[verdict], tuning=tuning), "")
    assert cell.beats_best_fixed_depth is found


def test_without_depths_nothing_is_known_of_the_best_one() -> None:
    results = _results(best_fixed_depth="")
    results = replace(results, arms=tuple(arm for arm in results.arms if arm.name != "depth 3"))
    assert {(cell.beats_best_fixed_depth, cell.best_fixed_depth) for cell in read_cells(results, "")} == {
        (None, "")
    }
    assert {cell.outcome for cell in read_cells(results, "")} == {Outcome.WINS}
