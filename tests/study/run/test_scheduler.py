"""The loop that keeps workers busy, where there is nothing to do."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.data.shards import Dataset
from deepen.study.compile.tree import compile_study
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.run.errors import Interrupted
from deepen.study.run.executors.interface import SegmentExecutor, Setting
from deepen.study.run.executors.registry import EXECUTOR_KINDS
from deepen.study.run.job import Job, Outcome, make_jobs
from deepen.study.run.scheduler import WorkPlan, train_tree
from deepen.study.store.retention import RETENTION_POLICIES
from deepen.study.store.study_folder import Store


class FullCluster:
    """An executor that has no room for a segment."""

    def __init__(self) -> None:
        self.asked = 0

    def capacity(self) -> int:
        self.asked += 1
        return 0

    def submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        raise AssertionError("there is no room")

    def stop(self) -> None:
        """Do nothing, as nothing is in training."""


def test_an_executor_without_room_is_asked_again_a_few_times_a_second(
    study: Study, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cluster = FullCluster()

    @contextmanager
    def open_cluster(choice: ExecutorChoice, setting: Setting) -> Iterator[SegmentExecutor]:
        yield cluster

    monkeypatch.setitem(EXECUTOR_KINDS, "slurm", replace(EXECUTOR_KINDS["slurm"], open=open_cluster))  # type: ignore[misc, arg-type]
    tree, store = compile_study(study, dataset.fingerprint), Store(tmp_path / "study")
    store.open(study, {})
    plan = WorkPlan(tree=tree, jobs=make_jobs(tree, dataset, store.folder))
    interrupt = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(Interrupted):
        train_tree(plan, store, ExecutorChoice(kind="slurm"), threads=1, policy=RETENTION_POLICIES["last"])
    interrupt.join()
    assert 1 <= cluster.asked <= 10
