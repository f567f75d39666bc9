"""The same study on every executor, with workers stopped and killed in mid-segment: the same to the bit."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.executor_option import read_executor
from deepen.cli.main import main
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.schedule.lr import Constant
from deepen.study import dask_workers, run
from deepen.study.arms import Arm, Evaluation, Study
from deepen.study.executor_choice import ExecutorChoice, local
from deepen.study.executors import Outcome, WorkersLostError, check_executor, work
from deepen.study.local_processes import visible_devices
from deepen.study.ownership import Claim, Session, SupersededError, end_earlier_session
from deepen.study.run import MOST_LOSSES, MOST_REFUSALS, Interrupted
from deepen.study.slurm_jobs import MOST_FAILURES, SubmititJobs
from deepen.study.store import Store
from deepen.study.tree import grow_tree
from deepen.study.worker import Job
from deepen.train.health import TrainingError
from leftovers import differences, told

Run = Callable[..., Any]
BATCH, STEPS = 32, 450


@pytest.fixture
def study(make_study: Callable[..., Study], model: ModelConfig) -> Study:
    """Three segments: one alone, and one that begins with the state of another, grown."""
    return make_study(
        model=replace(model, depth=2),
        tokens=STEPS * BATCH,
        arms=(
            Arm(name="full", recipe="full"),
            Arm(name="one-shot", recipe="one-shot", options={"start_depth": 1}),
        ),
        anchors=(1.0,),
        accountings=("flops",),
        lr=Constant(peak=1e-3),
        evaluation=Evaluation(every_tokens=10 * BATCH, validation_tokens=64),
    )


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return {}


@pytest.fixture
def undisturbed(reference: dict[str, Any], study: Study, run_study: Run, tmp_path: Path) -> dict[str, Any]:
    """What one process leaves, trained once for this module."""
    if not reference:
        run_study(study, tmp_path / "undisturbed")
        reference.update(told(tmp_path / "undisturbed"))
    return reference


def in_mid_segment(out: Path) -> Iterator[tuple[str, int]]:
    """Segments that have logged and are far from done, each with the process that trains it, again and again."""
    while True:
        for log in out.glob("segments/*/metrics.jsonl"):
            owner = out / "workers" / f"{log.parent.name}.owner"
            if 0 < len(log.read_text().splitlines()) < STEPS / 3 and owner.exists():
                yield log.parent.name, int(json.loads(owner.read_text())["who"].split()[1])
        time.sleep(0.01)


@contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread beside."""
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    yield
    thread.join()


@contextmanager
def killing(out: Path, times: int = 1) -> Iterator[None]:
    """SIGKILL processes in mid-segment."""

    def kill() -> None:
        killed: set[int] = set()
        for _, process in in_mid_segment(out):
            if process not in killed:
                os.kill(process, signal.SIGKILL)
                killed.add(process)
            if len(killed) == times:
                return

    with meanwhile(kill):
        yield


@contextmanager
def interrupting(out: Path) -> Iterator[None]:
    """SIGINT to the command in mid-segment."""
    with meanwhile(lambda: next(in_mid_segment(out)) and os.kill(os.getpid(), signal.SIGINT)):
        yield


def every_step_is_kept(out: Path) -> bool:
    """Whether each segment that was begun has a state of the last step that it logged."""
    store = Store(out)
    segments = [store.segment(key) for key in store.segment_keys()]
    begun = [segment for segment in segments if segment.lines("metrics")]
    return bool(begun) and all(s.lines("metrics")[-1]["tokens"] == s.tokens_saved for s in begun)


def assert_segments_are_undisturbed(out: Path, undisturbed: dict[str, Any]) -> None:
    """Of a study with some of the arms: every file of its segments is what it should be."""
    segments = {name: content for name, content in told(out).items() if name.startswith("segments/")}
    assert segments and all(undisturbed[name] == content for name, content in segments.items())


def test_a_killed_process_of_this_machine_costs_its_segment_and_nothing_else(
    study: Study, run_study: Run, undisturbed: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "study"
    with killing(out):
        run_study(study, out, executor=local(2))
    assert differences(out, undisturbed) == {}
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "was lost (its process died: killed, or out of memory)" in warnings[0]


def test_a_segment_that_loses_every_worker_ends_the_run_with_a_line_and_the_next_command_goes_on(
    study: Study,
    run_study: Run,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    out, alone = tmp_path / "study", replace(study, arms=study.arms[:1])
    with (
        killing(out, MOST_LOSSES),
        pytest.raises(WorkersLostError, match=r"3 workers in a row were lost on segment .*its process died"),
    ):
        run_study(alone, out, executor=local(2))
    assert len(capfd.readouterr().err.splitlines()) == MOST_LOSSES - 1
    assert not (out / "workers").exists()
    run_study(alone, out)
    assert_segments_are_undisturbed(out, undisturbed)


def test_an_error_of_training_comes_back_from_a_worker_and_is_not_retried(
    study: Study, run_study: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(TrainingError, match="loss"):
        run_study(replace(study, lr=Constant(peak=1e30)), tmp_path / "study", executor=local(2))
    assert "was lost" not in capfd.readouterr().err
    assert not (tmp_path / "study" / "workers").exists()


def test_on_dask_a_study_is_stopped_and_goes_on_and_a_killed_worker_costs_its_segment_and_nothing_else(
    study: Study, run_study: Run, undisturbed: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "study"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        executor = read_executor(f"dask:{cluster.scheduler_address}")
        check_executor(executor)
        with interrupting(out), pytest.raises(Interrupted):
            run_study(study, out, executor=executor)
        assert every_step_is_kept(out) and not (out / "workers").exists()
        with killing(out):
            run_study(study, out, executor=executor)
    assert differences(out, undisturbed) == {}
    assert capfd.readouterr().err.count("was lost") == 1


@pytest.mark.parametrize(
    ("threads", "torch_here", "said"), [(2, "", "has 2 Dask threads"), (1, "1.0", "here are .* and 1.0: install")]
)
def test_a_dask_worker_that_comes_late_and_is_not_as_the_others_ends_the_run(
    threads: int,
    torch_here: str,
    said: str,
    study: Study,
    run_study: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    distributed = pytest.importorskip("distributed")
    if torch_here:
        monkeypatch.setattr("torch.__version__", torch_here)  # here, not in the worker
    out = tmp_path / "study"
    with distributed.LocalCluster(n_workers=1, threads_per_worker=threads, dashboard_address=None) as cluster:
        executor = read_executor(f"dask:{cluster.scheduler_address}")
        with pytest.raises(ValueError, match=said):
            check_executor(executor)
        with pytest.raises(ValueError, match=said):  # as if it had come after that
            run_study(study, out, executor=executor)
    assert not list(out.rglob("state")) and not (out / "workers").exists()


@contextmanager
def scheduler_with_a_worker(folder: Path) -> Iterator[tuple[Any, str]]:
    """The process of a Dask scheduler, and its address."""
    told_at = folder / "scheduler.json"

    def start(what: str, *options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.{what}", "--scheduler-file", str(told_at)]
        return subprocess.Popen([*command, "--no-dashboard", *options], cwd=folder)

    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    worker = start("dask_worker", "--nthreads", "1")
    try:
        while not told_at.exists():
            time.sleep(0.01)
        yield scheduler, json.loads(told_at.read_text())["address"]
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
    monkeypatch.setattr(dask_workers, "_CONNECT_SECONDS", 3)
    out, long = tmp_path / "study", replace(study, arms=study.arms[:1], tokens=100 * study.tokens)
    with scheduler_with_a_worker(tmp_path) as (scheduler, address):
        with (
            meanwhile(lambda: next(in_mid_segment(out)) and scheduler.kill()),
            pytest.raises(WorkersLostError, match=r"the executor is gone|takes no more segments"),
        ):
            run_study(long, out, executor=read_executor(f"dask:{address}"))
        assert every_step_is_kept(out) and not (out / "workers").exists()
    assert not list(out.rglob("done.json"))  # it was in the middle
    assert "was lost" not in capfd.readouterr().err


def test_in_jobs_of_submitit_a_study_is_stopped_and_goes_on(
    study: Study, run_study: Run, undisturbed: dict[str, Any], tmp_path: Path
):
    pytest.importorskip("submitit")
    out, executor = tmp_path / "study", read_executor("slurm:cluster=local,jobs=2,time=30")
    study = replace(study, arms=study.arms[1:], baseline="one-shot")
    check_executor(executor)
    with interrupting(out), pytest.raises(Interrupted):
        run_study(study, out, executor=executor)
    assert every_step_is_kept(out) and not (out / "workers").exists()
    run_study(study, out, executor=executor)
    assert_segments_are_undisturbed(out, undisturbed)


def test_a_job_whose_future_was_cancelled_is_cancelled_though_nobody_looks_at_it_any_more(tmp_path: Path):
    submitit = pytest.importorskip("submitit")
    with SubmititJobs(submitit.LocalExecutor(tmp_path / "slurm"), poll_seconds=600) as jobs:
        future = jobs.submit(time.sleep, 20)
        (job,) = jobs._jobs.values()
        assert future.cancel()
    while not job.done():
        time.sleep(0.01)
    assert not job.paths.result_pickle.exists()


@pytest.mark.parametrize("failures", [MOST_FAILURES - 1, MOST_FAILURES])
def test_a_job_that_cannot_be_asked_is_asked_again_before_it_is_given_up(
    failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    local_jobs = pytest.importorskip("submitit.local.local")
    asked, done = iter(range(failures)), local_jobs.LocalJob.done

    def fails_at_first(job: Any) -> Any:
        if next(asked, None) is not None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return done(job)

    monkeypatch.setattr(local_jobs.LocalJob, "done", fails_at_first)
    with SubmititJobs(local_jobs.LocalExecutor(tmp_path / "slurm"), poll_seconds=0.01) as jobs:
        futures = [jobs.submit(os.path.basename, "a/b")]
        if failures < MOST_FAILURES:
            assert futures[0].result(60) == "b"
        else:
            assert isinstance(futures[0].exception(60), OSError)
            assert jobs.submit(os.path.basename, "a/c").result(60) == "c"


@pytest.mark.parametrize("refusals", [2, MOST_REFUSALS])
def test_a_job_that_is_not_taken_is_submitted_again_while_another_is_trained(
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
    monkeypatch.setattr(run, "_REFUSED_SECONDS", 0.0)
    executor = read_executor("slurm:cluster=local,jobs=2,time=30")
    if refusals < MOST_REFUSALS:
        run_study(study, out, executor=executor)
        assert differences(out, undisturbed).keys() <= {f"slurm/{path.name}" for path in (out / "slurm").iterdir()}
    else:
        with pytest.raises(WorkersLostError, match=r"takes no more segments .*Socket timed out"):
            run_study(study, out, executor=executor)
        assert not (out / "workers").exists()
    assert capfd.readouterr().err.count("warning: the executor takes no more segments") == 1


@pytest.fixture
def job(study: Study, dataset: Dataset, tmp_path: Path) -> Job:
    """The first segment of the study, in a folder where a session can begin."""
    tree, store = grow_tree(study, dataset.fingerprint), Store(tmp_path / "study")
    store.open(study.described(), {})
    return Job(
        node=next(iter(tree.nodes.values())),
        is_mark=True,
        folder=store.folder,
        model=study.model,
        settings=study.settings,
        evaluation=study.evaluation,
        dataset=dataset,
        window=study.context,
    )


def test_a_late_writer_leaves_without_writing_and_the_attempt_after_it_ends_as_if_it_had_never_been(
    job: Job, undisturbed: dict[str, Any]
):
    session, ends = Session(job.folder), list[object]()

    def late() -> None:
        try:
            ends.append(work(session.token, 1, job, 1))
        except SupersededError as error:
            ends.append(error)

    with meanwhile(late):
        next(in_mid_segment(job.folder))
        assert work(session.token, 1, job, 2) == Outcome(finished=True)
    session.end()
    assert isinstance(ends[0], SupersededError)
    assert_segments_are_undisturbed(job.folder, undisturbed)


def test_an_attempt_is_claimed_once_and_the_latest_alone_may_write(job: Job):
    session = Session(job.folder)

    def claim(attempt: int) -> Claim:
        return Claim(job.folder, job.node.key, session.token, attempt)

    with claim(2) as second:
        second.check()
        for attempt in (1, 2):
            with pytest.raises(SupersededError, match="was begun before, by process"), claim(attempt):
                pass
        second.check()
        assert session.is_held(job.node.key) and not second.shall_stop()
    assert not session.is_held(job.node.key)
    with claim(3) as third:
        session.stop()
        assert third.shall_stop()
        third.check()  # it may still save
        with pytest.raises(SupersededError, match="another attempt"):
            second.check()
    with pytest.raises(SupersededError, match="has ended"):  # a job that starts after the stop trains nothing
        work(session.token, 1, job, 4)


def test_a_job_that_an_earlier_command_left_does_not_take_over_from_a_worker_of_the_one_that_runs(job: Job):
    earlier = Session(job.folder)
    earlier.end()
    session = Session(job.folder)
    with Claim(job.folder, job.node.key, session.token, 1) as claim:
        with pytest.raises(SupersededError, match="has ended"):
            work(earlier.token, 1, job, 2)
        claim.check()


def test_a_file_that_is_replaced_while_nfs_opens_it_is_opened_again(job: Job, monkeypatch: pytest.MonkeyPatch):
    session, read_bytes, stale = Session(job.folder), Path.read_bytes, list[Path]()

    def fails_first(path: Path) -> bytes:
        if path not in stale:
            stale.append(path)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return read_bytes(path)

    with Claim(job.folder, job.node.key, session.token, 1) as claim:
        monkeypatch.setattr(Path, "read_bytes", fails_first)
        claim.check()
        assert not claim.shall_stop()
    assert {path.name for path in stale} == {"session", f"{job.node.key}.owner"}


def test_a_command_waits_until_what_a_killed_one_left_behind_has_saved_and_stopped(
    job: Job, capfd: pytest.CaptureFixture[str]
):
    session, outcomes = Session(job.folder), list[Outcome]()
    with meanwhile(lambda: outcomes.append(work(session.token, 1, job, 1))):
        next(in_mid_segment(job.folder))
        end_earlier_session(job.folder)
        kept = Store(job.folder).segment(job.node.key).tokens_saved
    assert outcomes == [Outcome()] and 0 < kept < BATCH * STEPS
    assert "waiting until they have saved" in capfd.readouterr().err and not (job.folder / "workers").exists()


def test_a_store_is_not_checked_while_what_a_killed_command_left_behind_trains_and_pruned_once_it_has_stopped(
    job: Job, capfd: pytest.CaptureFixture[str]
):
    store, session, outcomes = Store(job.folder), Session(job.folder), list[Outcome]()
    store.open(store.recorded("study"), {"lineage": {"children": {}, "marks": []}})
    with meanwhile(lambda: outcomes.append(work(session.token, 1, job, 1))):
        next(in_mid_segment(job.folder))
        assert main(["store", "check", str(job.folder)]) == 2
        said = capfd.readouterr().err
        assert "are still training" in said and said.count("\n") == 1 and outcomes == []
        assert main(["store", "prune", str(job.folder), "--keep", "last"]) == 0
        assert every_step_is_kept(job.folder)
    assert outcomes == [Outcome()]
    assert main(["store", "check", str(job.folder)]) == 0


def test_a_folder_that_a_machine_does_not_see_is_an_error_that_names_the_machine(
    job: Job, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepen.study.ownership._VISIBLE_SECONDS", 0)
    outcome = work("token", 1, job, 1)
    assert isinstance(outcome.error, FileNotFoundError) and os.uname().nodename in str(outcome.error)


def test_each_process_gets_a_device_of_those_that_are_visible():
    assert visible_devices(None, 2) == ["0", "1"]
    assert visible_devices("3, 5", 2) == ["3", "5"]
    assert visible_devices("GPU-8f2a,GPU-77b0", 2) == ["GPU-8f2a", "GPU-77b0"]
    assert visible_devices("", 0) == visible_devices(None, 0) == []


def test_an_executor_is_read_as_it_is_written():
    assert read_executor("local") == ExecutorChoice() and read_executor("local:2") == local(2)
    slurm = read_executor("slurm:partition=gpu,time=60,gpus_per_node=1,cpus_per_task=8,jobs=12")
    assert (slurm.kind, slurm.jobs, slurm.threads) == ("slurm", 12, 8)
    assert slurm.slurm == {"partition": "gpu", "time": 60, "gpus_per_node": 1, "cpus_per_task": 8}
    dask = read_executor("dask:tcp://host:8786,threads=4")
    assert (dask.kind, dask.address, dask.threads) == ("dask", "tcp://host:8786", 4)


@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("dask:tcp://host:1", "distributed")])
def test_a_missing_extra_is_one_line_that_names_it(
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
    assert capsys.readouterr().err == f"error: --executor {kind} needs {package}: pip install 'deepen[cluster]'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_dask_scheduler_that_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dask_workers, "_CONNECT_SECONDS", 0.5)
    assert main(["study", "quickstart", "--executor", "dask:tcp://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: --executor dask: no scheduler answers at tcp://127.0.0.1:1")
        and said.count("\n") == 1
    )
    assert list(tmp_path.iterdir()) == []
