"""A study is refused before it begins where its segments or states find no room; by default fewer are trained."""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.study.define.executor import ExecutorChoice, local
from deepen.study.define.study import Study
from deepen.study.run.resources import check_room, choose_jobs, memory_per_job, state_bytes
from deepen.study.store.retention import RETENTION_POLICIES
from deepen.study.store.study_folder import Store
from deepen.train.device import check_memory, pick_device
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.limits import own_memory_bytes, usable_cores

MIB = 1 << 20

pytestmark = pytest.mark.skipif(pick_device().type != "cpu", reason="limits of a CPU's memory")


@pytest.fixture
def large(study: Study) -> Study:
    """A study whose segments take some 700 MB each."""
    return replace(study, model=replace(study.model, width=1536, depth=2))


def check(study: Study, folder: Path, jobs: int = 1, keep: str = "last") -> None:
    check_room(study, Store(folder), local(jobs), ONE_PROCESS, RETENTION_POLICIES[keep])


def allow_memory(monkeypatch: pytest.MonkeyPatch, study: Study, segments: float) -> None:
    """Set SLURM's limit to what this process takes, and so many segments in processes of their own."""
    allowed = own_memory_bytes() + segments * memory_per_job(study, ONE_PROCESS)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(round(allowed / MIB)))


def test_no_more_segments_than_fit_into_memory_are_trained_at_once(
    large: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    every_core = ExecutorChoice()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1000000")
    assert choose_jobs(large, every_core, ONE_PROCESS) == (usable_cores(), "")
    allow_memory(monkeypatch, large, 1.5)
    jobs, why_fewer = choose_jobs(large, every_core, ONE_PROCESS)
    assert jobs == 1
    if usable_cores() > 1:
        assert why_fewer.startswith(f"not {usable_cores()}: each takes about ")
    assert choose_jobs(large, local(7), ONE_PROCESS) == (7, "")
    check(large, tmp_path / "new")
    allow_memory(monkeypatch, large, 3.5)
    check(large, tmp_path / "new", jobs=3)
    with pytest.raises(
        InvalidValueError, match=r"jobs is 7, and each .* GB; .* \(SLURM_MEM_PER_NODE\): use jobs 3"
    ):
        check(large, tmp_path / "new", jobs=7)


def test_the_processes_of_a_world_train_one_segment_at_a_time(study: Study):
    world = World(size=2, local_size=2)
    assert choose_jobs(study, ExecutorChoice(), world) == choose_jobs(study, local(1), world) == (1, "")
    for executor, what in ((local(2), "local with 2 jobs"), (ExecutorChoice(kind="slurm"), "slurm")):
        problem = f"executor is {what}, but 2 processes train one segment at a time, .*: use local:1"
        with pytest.raises(InvalidValueError, match=problem):
            choose_jobs(study, executor, world)


def test_a_machine_needs_memory_for_the_shares_that_its_processes_hold(
    large: Study, monkeypatch: pytest.MonkeyPatch
):
    """Two of eight processes."""
    shared = World(size=8, local_size=2, shard=True)
    assert memory_per_job(large, shared) - 2 * own_memory_bytes() < 0.5 * memory_per_job(large, ONE_PROCESS)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", str(10 * large.model.parameters // MIB))
    with pytest.raises(InvalidValueError, match="besides activations, this machine has"):
        check_memory(large.model, pick_device())
    check_memory(large.model, pick_device(), shards=shared.shards, local_shards=shared.local_shards)


def test_a_segment_that_does_not_fit_into_memory_is_refused(
    large: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    with pytest.raises(InvalidValueError, match=r"in training; 0\.1 GB can be used \(SLURM_MEM_PER_NODE\)"):
        check(large, tmp_path / "new")


def test_the_states_that_stay_need_room_on_the_disk(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_study: Callable[..., Any]
):
    state = max(state_bytes(study, depth) for depth in (1, 2))
    free = [10 * state]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[0]))
    out = tmp_path / "study"
    check(study, out)
    free[0] = 2 * state  # the two marks, and no place to write a third state before another is removed
    with pytest.raises(InvalidValueError, match="GB of states"):
        check(study, out)
    free[0] = 10 * state
    run_study(study, out)
    free[0] = 0
    check(study, out)  # nothing more is written


def test_a_limit_of_the_size_of_files_is_found_before_training(large: Study, tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, hard))
    try:
        with pytest.raises(InvalidValueError, match=r"ulimit -f"):
            check(large, tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_model_that_a_shell_has_no_memory_for_is_refused_and_leaves_nothing(tmp_path: Path):
    arguments = ["train", "full", "--model", "gpt2-124m", "--tokens", "4096", "--batch-tokens", "1024", "--out"]
    ended = subprocess.run(
        [sys.executable, "-m", "deepen", *arguments, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000,) * 2),
    )
    assert ended.returncode == 2
    message = (
        r"error: --model gpt2-124m takes about [\d.]+ GB in training; [\d.]+ GB can be used \(ulimit -v\): .*\n"
    )
    assert re.fullmatch(message, ended.stderr), ended.stderr
    assert list(tmp_path.iterdir()) == []
