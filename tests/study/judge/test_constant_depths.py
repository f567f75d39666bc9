"""Growing is shown to pay at a budget where it beats every constant depth that was trained there."""

from typing import Any

import numpy as np
import pytest

from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.schema import Results

SEEDS, BUDGETS = range(5), (0.25, 1.0)


def phases(*depths: int, trained: str = "all") -> list[dict[str, Any]]:
    return [{"depth": depth, "trained": trained, "layers": []} for depth in depths]


def arms(losses: dict[str, tuple[float, ...]], ways: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Arms with losses at the budgets, and a little noise of their own."""
    random = np.random.default_rng(0)
    return [
        {
            "name": name, "recipe": "full" if name == "full" else "x", "seed": seed, "phases": ways[name],
            "marks": [
                {"accounting": "flops", "budget_share": share, "budget_flops": share * 1e9, "flops": share * 1e9,
                 "tokens": 64, "val_loss": loss + random.normal(0, 1e-3)}
                for share, loss in zip(BUDGETS, per_budget, strict=True)
            ],
        }
        for name, per_budget in losses.items()
        for seed in SEEDS
    ]  # fmt: skip


WAYS = {"full": phases(4), "shallow": phases(2), "grown": phases(2, 4), "frozen": phases(4, trained="new-blocks")}
LOSSES = {"full": (4.0, 3.0), "shallow": (3.8, 3.1), "grown": (3.9, 2.9), "frozen": (3.7, 3.05)}


@pytest.fixture
def judged() -> Results:
    return with_verdicts(Results.from_json({"baseline": "full", "arms": arms(LOSSES, WAYS)}))


def test_an_arm_must_beat_the_depth_that_is_the_best_at_each_budget(judged: Results):
    """At the small budget, two blocks are better than the arm that grows; at the large one it beats both."""
    found = {
        v.budget_share: (v.depths_beaten, v.depths_not_beaten, v.depths_better)
        for v in judged.verdicts
        if v.arm == "grown"
    }
    assert found == {0.25: (("full",), ("shallow",), ("shallow",)), 1.0: (("full", "shallow"), (), ())}


def test_a_model_that_trains_a_part_of_itself_is_no_constant_depth(judged: Results):
    found = {v.budget_share: (v.depths_beaten, v.depths_not_beaten) for v in judged.verdicts if v.arm == "frozen"}
    assert found == {0.25: (("full", "shallow"), ()), 1.0: (("shallow",), ("full",))}


def test_constant_depths_are_not_compared_with_each_other(judged: Results):
    assert all(not v.depths_beaten + v.depths_not_beaten for v in judged.verdicts if v.arm == "shallow")


def test_a_beaten_depth_whose_rate_is_at_the_edge_of_those_tried_is_named():
    at_edge = [arm | {"rate_at_edge": arm["name"] in ("shallow", "grown")} for arm in arms(LOSSES, WAYS)]
    found = with_verdicts(Results.from_json({"baseline": "full", "arms": at_edge}))
    assert {v.budget_share: v.depths_at_edge for v in found.verdicts if v.arm == "grown"} == {
        0.25: (),  # not beaten there
        1.0: ("shallow",),
    }


def test_a_depth_without_all_seeds_is_no_part_of_it():
    some = [arm for arm in arms(LOSSES, WAYS) if (arm["name"], arm["seed"]) != ("shallow", 4)]
    found = with_verdicts(Results.from_json({"baseline": "full", "arms": some}))
    assert {(v.depths_beaten, v.depths_not_beaten) for v in found.verdicts if v.arm == "grown"} == {
        (("full",), ())
    }


def test_files_without_phases_have_no_constant_depths():
    old = [{key: value for key, value in arm.items() if key != "phases"} for arm in arms(LOSSES, WAYS)]
    found = with_verdicts(Results.from_json({"baseline": "full", "arms": old}))
    assert all(not v.depths_beaten + v.depths_not_beaten for v in found.verdicts)
