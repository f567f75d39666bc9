"""The warning before a run that takes days."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.presets import quickstart
from deepen.study.define.study import Arm, Study
from deepen.study.define.tuning import Tuning
from deepen.study.run.forecast import (
    MAX_EPOCHS,
    Speed,
    announce_days,
    remaining_flops,
    warn_of_days,
    warn_of_epochs,
)
from deepen.study.store.study_folder import Store

YEAR_OF_TOKENS = 1024 * 10**10


def one_arm(tokens: int) -> Study:
    arms, evaluation = (Arm(name="full", recipe="full"),), Evaluation(every_tokens=tokens, validation_tokens=64)
    return replace(quickstart(), arms=arms, seeds=(0, 1), anchors=(1.0,), tokens=tokens, evaluation=evaluation)


def compile_tree(study: Study) -> Tree:
    return compile_study(study, "data")


def never() -> Speed | None:
    raise AssertionError("nothing should be measured")


def test_what_remains_is_the_longest_route_or_the_share_of_a_worker(tmp_path: Path):
    tree, store = compile_tree(one_arm(1024 * 100)), Store(tmp_path)
    flops = 100 * next(iter(tree.nodes.values())).segment.flops_per_step
    assert remaining_flops(tree, store, 1) == 2 * flops  # with two seeds
    assert remaining_flops(tree, store, 2) == remaining_flops(tree, store, 8) == flops


def test_runs_that_wait_for_trials_remain_too(tmp_path: Path):
    study = one_arm(1024 * 100)
    tuned = replace(study, tuning=Tuning(rates=(4e-3, 8e-3), trials=3))
    one, all_of_it = (remaining_flops(compile_tree(each), Store(tmp_path), 1) for each in (study, tuned))
    assert all_of_it == pytest.approx(one * (3 + 2) / 2, rel=0.01)  # three trials, two seeds


def test_a_short_run_is_not_measured(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    warn_of_days(compile_tree(quickstart()), Store(tmp_path), 1, never)
    assert caplog.text == ""


def test_a_run_of_days_is_announced_in_one_line_as_an_estimate(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    study = one_arm(YEAR_OF_TOKENS)
    tree, store = compile_tree(study), Store(tmp_path)
    flops = remaining_flops(tree, store, 2)
    warn_of_days(tree, store, 2, lambda: Speed(flops_per_second=flops / (12 * 86_400)))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "\n" not in record.message
    assert "an estimated 12 days here" in record.message and "smaller model" in record.message
    assert "executor" in record.message and "measured with a step" in record.message
    assert "its plan gives the time on other devices" in record.message


def test_a_bound_is_labelled_as_one(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    tree = compile_tree(one_arm(YEAR_OF_TOKENS))
    warn_of_days(tree, Store(tmp_path), 1, lambda: Speed(flops_per_second=1e12, is_peak=True))
    assert "at least" in caplog.text and "matrix products alone" in caplog.text


@pytest.mark.parametrize("speed", [None, Speed(flops_per_second=1e30)], ids=["unknown", "fast"])
def test_without_days_or_without_a_speed_there_is_no_warning(
    speed: Speed | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    warn_of_days(compile_tree(one_arm(YEAR_OF_TOKENS)), Store(tmp_path), 1, lambda: speed)
    assert caplog.text == ""


def test_data_that_is_read_often_is_announced_in_one_line(caplog: pytest.LogCaptureFixture):
    tree = compile_tree(one_arm(1024 * 1000))
    warn_of_epochs(tree, 1024 * 1000 // MAX_EPOCHS)
    assert not caplog.records
    warn_of_epochs(tree, 1024 * 100)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "1,024,000 tokens, 10 epochs" in record.message


def test_what_takes_days_is_named(caplog: pytest.LogCaptureFixture):
    announce_days(1e18, lambda: Speed(flops_per_second=1e12), "the map")
    assert "the map will take an estimated 12 days here" in caplog.text
