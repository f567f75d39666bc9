"""A study with a recipe of a user's own: trained, interrupted, continued, read without its function."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.data.shards import Dataset
from deepen.errors import InvalidValuesError
from deepen.model.config import ModelConfig
from deepen.report import draw_report
from deepen.schedule.phase import Phase
from deepen.schedule.rate import Constant
from deepen.schedule.recipe_function import Build
from deepen.schedule.schedule import Schedule
from deepen.study.compile.tree import compile_study
from deepen.study.define.executor import local
from deepen.study.define.study import Arm, Study
from deepen.study.results.results_file import load_results
from deepen.study.run.job import make_jobs
from deepen.study.store.maintenance import check
from deepen.study.store.study_folder import Store


def late(model: ModelConfig, tokens: int, *, grow_at: float = 0.5) -> Schedule:
    """Grow once."""
    before = round(tokens * grow_at)
    return Schedule(
        phases=(
            Phase(depth=1, tokens=before, label="shallow"),
            Phase(depth=model.depth, tokens=tokens - before, label="deep"),
        )
    )


def with_recipe(study: Study, recipe: Build, **changes: Any) -> Study:
    return replace(study, arms=(study.arms[0], Arm(name="mine", recipe=recipe, **changes)))


@pytest.mark.slow
def test_a_lambda_is_trained_in_worker_processes_like_the_recipe_it_calls(
    study: Study, run_study: Callable[..., Any], tmp_path: Path
):
    """Workers are spawned and know nothing of the function."""
    results = run_study(with_recipe(study, lambda m, t: late(m, t)), tmp_path / "mine", executor=local(2))
    named = run_study(with_recipe(study, late), tmp_path / "named")
    mine = next(arm for arm in results["arms"] if arm["name"] == "mine")
    same = next(arm for arm in named["arms"] if arm["name"] == "mine")
    assert (mine["recipe"], same["recipe"]) == ("lambda", "late") and not mine["is_control"]
    assert mine["segments"] == same["segments"]
    assert [mark["val_loss"] for mark in mine["marks"]] == [mark["val_loss"] for mark in same["marks"]]


@pytest.mark.slow
def test_a_folder_is_continued_with_a_function_that_returns_the_same_and_with_no_other(
    study: Study, run_study: Callable[..., Any], tmp_path: Path
):
    folder = tmp_path / "study"
    first = run_study(with_recipe(study, late), folder)
    again = run_study(replace(with_recipe(study, lambda m, t: late(m, t)), seeds=(0, 1)), folder)
    assert [arm["curve"] for arm in again["arms"] if arm["seed"] == 0] == [arm["curve"] for arm in first["arms"]]
    with pytest.raises(
        InvalidValuesError, match=r"what the recipe of arm mine returns differs from what .*study was"
    ):
        run_study(replace(with_recipe(study, lambda m, t: late(m, t, grow_at=0.3)), seeds=(0, 1)), folder)
    with pytest.raises(InvalidValuesError, match="other settings"):
        run_study(with_recipe(study, late, options={"grow_at": 0.5}), folder)


@pytest.mark.slow
def test_a_recorded_study_is_checked_and_drawn_without_its_function(
    study: Study, run_study: Callable[..., Any], tmp_path: Path
):
    folder = tmp_path / "study"
    run_study(with_recipe(study, late, rate=Constant(peak=2e-3)), folder)
    assert not check(Store(folder)).all_problems
    assert draw_report(load_results(folder), folder).is_file()
    recorded = Study.from_json(Store(folder).recorded("study"))
    with pytest.raises(InvalidValuesError, match=r"arm mine: recipe late: study.json only records"):
        run_study(recorded, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    arms = {arm.name: (arm.rate, arm.peak_lr) for arm in load_results(folder).arms}
    assert arms == {"full": ("constant", 1e-3), "mine": ("constant", 2e-3)}


SCRIPT = """
import deepen
study = deepen.Study(
    name="mine", model=deepen.ModelConfig(name="t", depth=2, width=8, heads=2, context=16, vocab=512),
    tokens=512, batch_tokens=32, context=16, data={data!r}, anchors=(1.0,), rate=deepen.Constant(peak=1e-3),
    arms=(
        deepen.Arm(name="full", recipe="full"),
        deepen.Arm(name="mine", recipe=lambda model, tokens: deepen.Schedule(
            phases=(deepen.Phase(depth=1, tokens=tokens, label="shallow"),)
        )),
    ),
    evaluation=deepen.Evaluation(every_tokens=256, validation_tokens=64),
)
results = deepen.run(study, {folder!r}, executor="local:2", report=False)
print(*(arm.recipe for arm in results.arms))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["file", "pipe"])
def test_a_script_without_a_guard_and_one_without_a_file_train_in_worker_processes(
    how: str, dataset: Dataset, tmp_path: Path
):
    """Workers do not execute the script again."""
    code = SCRIPT.format(data=str(dataset.folder), folder=str(tmp_path / "study"))
    (tmp_path / "mine.py").write_text(code)
    command = [sys.executable, *(["mine.py"] if how == "file" else [])]
    text = code if how == "pipe" else None
    done = subprocess.run(command, input=text, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "full lambda\n", done.stderr


def test_the_messages_to_workers_hold_no_function(study: Study, dataset: Dataset, tmp_path: Path):
    """So a lambda trains on every executor: processes, SLURM jobs, Dask workers, other ranks."""
    tree = compile_study(with_recipe(study, lambda m, t: late(m, t)), dataset.fingerprint)
    jobs = make_jobs(tree, dataset, tmp_path)
    assert pickle.loads(pickle.dumps(jobs)) == jobs
