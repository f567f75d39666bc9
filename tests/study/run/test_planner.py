"""What study.json records of a study whose tree follows from the losses of its trials."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.data.shards import Dataset
from deepen.study.define.study import Arm, Study
from deepen.study.define.tuning import Tuning
from deepen.study.run.planner import Planner
from deepen.study.run.run_study import hash_inputs
from deepen.study.store.lineage import Lineage
from deepen.study.store.study_folder import Store

ONE_SHOT = Arm(name="one-shot", recipe="one-shot", options={"start_depth": 6})


@pytest.fixture
def tuned(make_study: Callable[..., Study]) -> Study:
    arms = (Arm(name="full", recipe="full"),)
    return make_study(arms=arms, tuning=Tuning(rates=(4e-3, 8e-3), trials=3), anchors=(1.0,))


def make_planner(study: Study, store: Store, dataset: Dataset) -> Planner:
    return Planner(study, store, dataset, hash_inputs(study, dataset), {})


def choose_rates(planner: Planner, store: Store) -> None:
    """Record a loss of every trial, as if it was trained, until each arm has its rate."""
    while planner.tree.tuning.is_open:
        for trial, run in planner.tree.tuning.runs:
            folder = store.segment(run.keys[-1])
            folder.open(planner.tree.nodes[run.keys[-1]])
            folder.record_trial_loss(3 + math.log(trial.peak / 4e-3) ** 2)
        planner.replan()


def read_record(store: Store) -> dict[str, Any]:
    return {name: store.recorded(name) for name in ("lineage", "routes", "trials")}


def test_a_study_that_is_run_again_keeps_its_record_while_its_states_are_checked(
    tuned: Study, dataset: Dataset, tmp_path: Path
):
    store = Store(tmp_path / "study")
    planner = make_planner(tuned, store, dataset)
    undecided = read_record(store)
    choose_rates(planner, store)
    decided = read_record(store)
    assert Lineage.read(store) == Lineage.from_tree(planner.tree)
    assert all(decided[name] != undecided[name] for name in decided)
    again = make_planner(tuned, store, dataset)
    assert read_record(store) == decided
    assert again.replan() is not None and again.replan() is None
    assert read_record(store) == decided


def test_an_added_arm_is_recorded_when_the_decisions_so_far_are_known(
    tuned: Study, dataset: Dataset, tmp_path: Path
):
    store = Store(tmp_path / "study")
    choose_rates(make_planner(tuned, store, dataset), store)
    decided = read_record(store)
    planner = make_planner(replace(tuned, arms=(*tuned.arms, ONE_SHOT)), store, dataset)
    assert len(store.recorded("study")["arms"]) == 2 and read_record(store) == decided
    planner.replan()
    assert {each["arm"] for each in store.recorded("trials")} == {"full", "one-shot"}
    choose_rates(planner, store)
    assert Lineage.read(store) == Lineage.from_tree(planner.tree)


def test_what_no_loss_can_change_is_recorded_at_once(tuned: Study, dataset: Dataset, tmp_path: Path):
    store, plain = Store(tmp_path / "study"), replace(tuned, tuning=None)
    make_planner(plain, store, dataset)
    planner = make_planner(replace(plain, arms=(*plain.arms, ONE_SHOT)), store, dataset)
    assert Lineage.read(store) == Lineage.from_tree(planner.tree)
    assert [each["arm"] for each in store.recorded("routes")] == ["full", "one-shot"]
