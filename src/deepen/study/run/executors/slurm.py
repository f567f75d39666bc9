"""Training segments as SLURM jobs, one per segment, through submitit, whose files are in STUDY/slurm."""

import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from typing import Any

from deepen.errors import InvalidValueError
from deepen.study.define.executor import ExecutorChoice
from deepen.study.run.executors.interface import ExecutorKind, SegmentExecutor, Setting, WorkerPool
from deepen.study.run.job import Job, Outcome
from deepen.study.run.ownership import open_session
from deepen.study.run.signals import STOP_SIGNALS
from deepen.study.run.worker_process import train_in_worker

DEFAULT_JOBS = 64
"""Default number of jobs that are queued or running."""

DEFAULT_MINUTES = 60
"""Default time limit of a job. A longer segment saves before the limit and continues in another job."""

MAX_POLL_FAILURES = 30
"""A job counts as lost when this many polls of its state in a row have failed."""

_SAVE_SECONDS = 120
"""Time before its limit at which a job is asked to save."""


def _check(choice: ExecutorChoice) -> None:
    if find_spec("submitit") is None:
        raise InvalidValueError(
            "slurm needs submitit", field="executor", value=choice, remedy="pip install submitit"
        )
    if _cluster(choice) == "slurm" and shutil.which("sbatch") is None:
        raise InvalidValueError(
            "slurm: there is no sbatch on this machine",
            field="executor",
            value=choice,
            remedy="run deepen where jobs are submitted",
        )


@contextmanager
def _open(choice: ExecutorChoice, setting: Setting) -> Iterator[SegmentExecutor]:
    with open_session(setting.folder) as session, _submitit_jobs(choice, setting) as jobs:
        call = partial(_train_in_job, session.token, setting.threads)
        capacity = choice.jobs or DEFAULT_JOBS
        with WorkerPool(jobs, call, lambda: capacity, session).until_all_stopped() as pool:
            yield pool


KIND = ExecutorKind(
    trains_here=False,
    check=_check,
    default_jobs=lambda: None,
    default_threads=lambda jobs: 1,
    open=_open,
)


def _cluster(choice: ExecutorChoice) -> str:
    """`slurm`, or `local`, with which submitit starts processes on this machine instead."""
    return str(choice.slurm.get("cluster", "slurm"))


def _submitit_jobs(choice: ExecutorChoice, setting: Setting) -> "SubmititJobs":
    import submitit

    common = ("mem_gb", "gpus_per_node", "cpus_per_task")  # in submitit, all others have the prefix slurm_
    minutes = int(choice.slurm.get("time", DEFAULT_MINUTES))
    requested = {key: value for key, value in choice.slurm.items() if key not in ("time", "cluster")}
    requested["cpus_per_task"] = setting.threads
    executor = submitit.AutoExecutor(folder=setting.folder.resolve() / "slurm", cluster=_cluster(choice))
    executor.update_parameters(
        name="deepen",
        timeout_min=minutes,
        slurm_signal_delay_s=min(_SAVE_SECONDS, 30 * minutes),
        **{key if key in common else f"slurm_{key}": value for key, value in requested.items()},
    )
    return SubmititJobs(executor)


def _train_in_job(session: str, threads: int, job: Job, attempt: int) -> Outcome:
    """Train a segment in a SLURM job, which saves and ends before its time limit."""
    return train_in_worker(session, threads, job, attempt, _watch_signals())


def _watch_signals() -> Callable[[], bool]:
    """A function that checks for the signals that precede a time limit or a preemption."""
    import submitit

    received = threading.Event()
    for number in {*STOP_SIGNALS, submitit.JobEnvironment._usr_sig()} - {signal.SIGINT}:
        signal.signal(number, lambda *_: received.set())
    return received.is_set


class SubmititJobs(Executor):
    """submitit's jobs as standard futures, which a polling thread completes."""

    def __init__(self, executor: Any, poll_seconds: float = 1.0) -> None:
        self._executor, self._poll_seconds = executor, poll_seconds
        self._jobs: dict[Future[Any], Any] = {}
        self._failures = Counter[Future[Any]]()
        self._is_over = threading.Event()
        self._poller = threading.Thread(target=self._poll, daemon=True)
        self._poller.start()

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Submit a job."""
        job = self._executor.submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        self._jobs[future] = job
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop polling, and cancel the jobs of cancelled futures."""
        self._is_over.set()
        self._poller.join()
        for future, job in self._jobs.items():
            if future.cancelled():
                with suppress(OSError):
                    job.cancel(check=False)

    def _poll(self) -> None:
        while not self._is_over.wait(self._poll_seconds):
            for future, job in list(self._jobs.items()):
                self._poll_job(future, job)

    def _poll_job(self, future: "Future[Any]", job: Any) -> None:
        """Complete the future of a job that has ended; if the state cannot be read, the job is polled again."""
        result, failure = None, None
        try:
            if future.cancelled():
                job.cancel(check=False)
            elif job.done():
                result, failure = _read_result(job)
            else:
                self._failures[future] = 0
                return
        except Exception as error:  # must not end this thread, which completes all futures
            self._failures[future] += 1
            if self._failures[future] < MAX_POLL_FAILURES:
                return
            failure = error
        del self._jobs[future], self._failures[future]
        if not future.set_running_or_notify_cancel():
            return
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)


def _read_result(job: Any) -> tuple[Any, Exception | None]:
    """The return value of the call in a job, or the reason why the job was lost.

    Raises:
        OSError: the result cannot be read now.
    """
    try:
        return job.result(), None
    except OSError:
        raise
    except Exception as error:
        failure = RuntimeError(
            f"job {job.job_id} left no result, its state is {job.state}; its log is {job.paths.stderr}"
        )
        failure.__cause__ = error
        return None, failure
