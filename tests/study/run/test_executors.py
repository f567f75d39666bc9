"""The same study on every executor, with workers stopped and killed in mid-segment: the same to the bit."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.messages import print_messages
from deepen.schedule.rate import Constant
from deepen.study.compile.tree import compile_study
from deepen.study.define.executor import ExecutorChoice, local
from deepen.study.define.study import Study
from deepen.study.run import retries
from deepen.study.run.errors import Interrupted, WorkersLostError
from deepen.study.run.executors import dask as dask_workers
from deepen.study.run.executors.interface import Setting
from deepen.study.run.executors.local import LocalProcesses, ThisProcess, visible_devices
from deepen.study.run.executors.registry import get_kind
from deepen.study.run.job import make_jobs
from deepen.study.run.retries import MAX_REFUSALS, MAX_WORKER_FAILURES
from deepen.study.run.scheduler import WorkPlan, train_tree
from deepen.study.store.retention import RETENTION_POLICIES
from deepen.study.store.study_folder import Store
from deepen.train.distributed.processes import World
from deepen.train.errors import TrainingError
from leftovers import differences
from processes import wait_until
from workers import (
    assert_segments_are_undisturbed,
    every_step_is_kept,
    in_mid_segment,
    interrupting,
    killing,
    meanwhile,
)

pytestmark = pytest.mark.slow

Run = Callable[..., Any]


def test_a_killed_process_of_this_machine_loses_only_its_segment(
    study: Study, run_study: Run, undisturbed: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "study"
    with killing(out):
        run_study(study, out, executor=local(2))
    assert differences(out, undisturbed) == {}
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "was lost (its process died: killed, or out of memory)" in warnings[0]


def test_what_a_worker_prints_on_stderr_is_printed_by_this_process(monkeypatch: pytest.MonkeyPatch):
    """So it does not tear the progress that this process shows there."""
    monkeypatch.setattr(sys, "stderr", printed := io.StringIO())
    with LocalProcesses(1) as processes:
        processes.submit(os.write, 2, b"from C\n").result()
        processes.submit(os.write, 2, b"the last words, in b\xe4d encoding").result()
        with pytest.raises(BrokenExecutor):
            processes.submit(os._exit, 1).result()
        processes.submit(print_warnings, 2).result()
    lines = printed.getvalue().splitlines()
    assert lines == ["from C", "the last words, in b\\xe4d encoding", "warning: one", "warning: two"]


def print_warnings(count: int) -> None:
    print_messages()
    for number in ("one", "two", "three")[:count]:
        logging.getLogger("deepen.test").warning(number)


def test_a_segment_that_loses_every_worker_ends_the_run_and_the_next_command_continues(
    study: Study,
    run_study: Run,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    out, alone = tmp_path / "study", replace(study, arms=study.arms[:1])
    with (
        killing(out, MAX_WORKER_FAILURES),
        pytest.raises(WorkersLostError, match=r"3 workers in a row were lost on segment .*its process died"),
    ):
        run_study(alone, out, executor=local(2))
    assert len(capfd.readouterr().err.splitlines()) == MAX_WORKER_FAILURES - 1
    assert not (out / "workers").exists()
    run_study(alone, out)
    assert_segments_are_undisturbed(out, undisturbed)


def test_an_error_of_training_comes_back_from_a_worker_and_is_not_retried(
    study: Study, run_study: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(TrainingError, match="loss"):
        run_study(replace(study, rate=Constant(peak=1e30)), tmp_path / "study", executor=local(2))
    assert "was lost" not in capfd.readouterr().err
    assert not (tmp_path / "study" / "workers").exists()


def test_on_dask_a_stopped_study_continues_and_a_killed_worker_loses_only_its_segment(
    study: Study, run_study: Run, undisturbed: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "study"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        executor = ExecutorChoice.parse(f"dask:{cluster.scheduler_address}")
        get_kind(executor).check(executor)
        with interrupting(out), pytest.raises(Interrupted):
            run_study(study, out, executor=executor)
        assert every_step_is_kept(out) and not (out / "workers").exists()
        with killing(out):
            run_study(study, out, executor=executor)
    assert differences(out, undisturbed) == {}
    assert capfd.readouterr().err.count("was lost") == 1


@pytest.mark.parametrize(
    ("threads", "torch_here", "message"),
    [(2, "", "has 2 Dask threads"), (1, "1.0", "here are .* and 1.0: install")],
)
def test_a_dask_worker_that_joins_late_and_differs_from_the_others_ends_the_run(
    threads: int,
    torch_here: str,
    message: str,
    study: Study,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    distributed = pytest.importorskip("distributed")
    tree, store = compile_study(study, dataset.fingerprint), Store(tmp_path / "study")
    store.open(study, {})
    if torch_here:
        monkeypatch.setattr("torch.__version__", torch_here)  # here, not in the worker
    out = tmp_path / "study"
    with distributed.LocalCluster(n_workers=1, threads_per_worker=threads, dashboard_address=None) as cluster:
        executor = ExecutorChoice.parse(f"dask:{cluster.scheduler_address}")
        with pytest.raises(ValueError, match=message):
            get_kind(executor).check(executor)
        with pytest.raises(ValueError, match=message):  # as if it had joined after the check
            train_tree(
                WorkPlan(tree=tree, jobs=make_jobs(tree, dataset, out)),
                store,
                executor,
                threads=1,
                policy=RETENTION_POLICIES["last"],
            )
    assert not list(out.rglob("state")) and not (out / "workers").exists()


@contextmanager
def scheduler_with_a_worker(folder: Path) -> Iterator[tuple[Any, str]]:
    """The process of a Dask scheduler, and its address."""
    address_file = folder / "scheduler.json"

    def start(program: str, *options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(address_file)]
        return subprocess.Popen([*command, "--no-dashboard", *options], cwd=folder)

    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    worker = start("dask_worker", "--nthreads", "1")
    try:
        wait_until(address_file.exists, scheduler)
        yield scheduler, json.loads(address_file.read_text())["address"]
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait()


def test_a_dask_scheduler_that_dies_ends_the_run_after_what_was_trained_is_saved(
    study: Study,
    run_study: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_workers, "CONNECT_SECONDS", 3)
    out, long = tmp_path / "study", replace(study, arms=study.arms[:1], tokens=100 * study.tokens)
    with scheduler_with_a_worker(tmp_path) as (scheduler, address):
        with (
            meanwhile(lambda: next(in_mid_segment(out)) and scheduler.kill()),
            pytest.raises(WorkersLostError, match=r"the executor is gone|takes no more segments"),
        ):
            run_study(long, out, executor=ExecutorChoice.parse(f"dask:{address}"))
        assert every_step_is_kept(out) and not (out / "workers").exists()
    assert not list(out.rglob("done.json"))  # the segment is unfinished
    assert "was lost" not in capfd.readouterr().err


def test_in_submitit_jobs_a_stopped_study_continues(
    study: Study, run_study: Run, undisturbed: dict[str, Any], tmp_path: Path
):
    pytest.importorskip("submitit")
    out, executor = tmp_path / "study", ExecutorChoice.parse("slurm:cluster=local,jobs=2,time=30")
    study = replace(study, arms=study.arms[1:], baseline="one-shot")
    get_kind(executor).check(executor)
    with interrupting(out), pytest.raises(Interrupted):
        run_study(study, out, executor=executor)
    assert every_step_is_kept(out) and not (out / "workers").exists()
    run_study(study, out, executor=executor)
    assert_segments_are_undisturbed(out, undisturbed)


@pytest.mark.parametrize("name", ["USR1", "USR2"])
def test_a_job_that_is_warned_of_its_time_limit_saves_and_another_one_continues(
    name: str,
    study: Study,
    run_study: Run,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    """Clusters warn with the signal that submitit is configured for."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", name)
    out, executor = tmp_path / "study", ExecutorChoice.parse("slurm:cluster=local,jobs=2,time=30")
    with killing(out, number=getattr(signal, f"SIG{name}")):
        run_study(study, out, executor=executor)
    assert differences(out, undisturbed).keys() <= {f"slurm/{path.name}" for path in (out / "slurm").iterdir()}
    (warning,) = (line for line in capfd.readouterr().err.splitlines() if "was lost" in line)
    assert "(its machine asked it to stop)" in warning and "continues from 0 tokens" not in warning


@pytest.mark.parametrize("refusals", [2, MAX_REFUSALS])
def test_a_refused_job_is_submitted_again_while_another_is_trained(
    refusals: int,
    study: Study,
    run_study: Run,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    submitit = pytest.importorskip("submitit")
    out, submit, taken = tmp_path / "study", submitit.AutoExecutor.submit, iter([True, *[False] * refusals])

    def sometimes(executor: Any, *call: Any) -> Any:
        if next(taken, True):
            return submit(executor, *call)
        raise submitit.core.utils.FailedJobError("sbatch: error: Socket timed out on send/recv operation")

    monkeypatch.setattr(submitit.AutoExecutor, "submit", sometimes)
    monkeypatch.setattr(retries, "REFUSED_SECONDS", 0.0)
    executor = ExecutorChoice.parse("slurm:cluster=local,jobs=2,time=30")
    if refusals < MAX_REFUSALS:
        run_study(study, out, executor=executor)
        assert differences(out, undisturbed).keys() <= {f"slurm/{path.name}" for path in (out / "slurm").iterdir()}
    else:
        with pytest.raises(WorkersLostError, match=r"takes no more segments .*Socket timed out"):
            run_study(study, out, executor=executor)
        assert not (out / "workers").exists()
    assert capfd.readouterr().err.count("warning: the executor takes no more segments") == 1


def test_this_process_trains_the_segments_of_a_world(tmp_path: Path):
    """The others follow it, which they could not do with several worker processes."""
    for jobs in (None, 1, 3):
        setting = Setting(folder=tmp_path, threads=1, stop=threading.Event(), world=World(size=2))
        executor = ExecutorChoice(jobs=jobs)
        with get_kind(executor).open(executor, setting) as workers:
            assert isinstance(workers, ThisProcess) and workers.capacity() == 1


def test_each_process_gets_one_of_the_visible_devices():
    assert visible_devices(None, 2) == ["0", "1"]
    assert visible_devices("3, 5", 2) == ["3", "5"]
    assert visible_devices("GPU-8f2a,GPU-77b0", 2) == ["GPU-8f2a", "GPU-77b0"]
    assert visible_devices("", 0) == visible_devices(None, 0) == []


@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("dask:tcp://host:1", "distributed")])
def test_a_missing_extra_is_an_error_of_one_line(
    executor: str,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert main(["study", "quickstart", "--executor", executor]) == 2
    kind = executor.partition(":")[0]
    assert capsys.readouterr().err == f"error: --executor {kind} needs {package}: pip install {package}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_dask_scheduler_that_does_not_answer_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask_workers, "CONNECT_SECONDS", 0.5)
    assert main(["study", "quickstart", "--executor", "dask:tcp://127.0.0.1:1"]) == 2
    message = capsys.readouterr().err
    assert (
        message.startswith("error: --executor dask: no scheduler answers at tcp://127.0.0.1:1")
        and message.count("\n") == 1
    )
    assert list(tmp_path.iterdir()) == []
