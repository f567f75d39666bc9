"""Segments in SLURM jobs, one each, through submitit. Its scripts, logs and pickled calls are in STUDY/slurm."""

import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepen.study.define.executor import ExecutorChoice

JOBS = 64
"""Jobs that are queued or run at once, where --executor does not say."""

MINUTES = 60
"""Time limit of a job, where --executor does not say; a longer segment saves in time and goes on in another."""

MAX_POLL_FAILURES = 30
"""How often in a row, a second apart, a job may fail to be asked before it is given up for lost."""

_SAVE_SECONDS = 120
"""How long before its time limit a job is told to save."""


def check_slurm(choice: ExecutorChoice) -> None:
    """Raise a ValueError where no job can be submitted from here."""
    if _cluster(choice) == "slurm" and shutil.which("sbatch") is None:
        raise ValueError(
            "--executor slurm: there is no sbatch on this machine: run deepen where jobs are submitted"
        )


def _cluster(choice: ExecutorChoice) -> str:
    """`slurm`, or submitit's stand-in `local`: processes of this machine."""
    return str(choice.slurm.get("cluster", "slurm"))


def slurm_jobs(choice: ExecutorChoice, folder: Path) -> "SubmititJobs":
    """The executor that submits what a choice asks for."""
    import submitit

    common = ("mem_gb", "gpus_per_node", "cpus_per_task")  # what submitit asks of any kind of cluster
    minutes = int(choice.slurm.get("time", MINUTES))
    executor = submitit.AutoExecutor(folder=folder.resolve() / "slurm", cluster=_cluster(choice))
    executor.update_parameters(
        name="deepen",
        timeout_min=minutes,
        slurm_signal_delay_s=min(_SAVE_SECONDS, 30 * minutes),
        **{k if k in common else f"slurm_{k}": v for k, v in choice.slurm.items() if k not in ("time", "cluster")},
    )
    return SubmititJobs(executor)


def leave_requested() -> Callable[[], bool]:
    """Whether this SLURM job got one of the signals that come before a time limit or a preemption."""
    import submitit

    told = threading.Event()
    for number in (signal.SIGTERM, submitit.JobEnvironment._usr_sig()):
        signal.signal(number, lambda *_: told.set())
    return told.is_set


class SubmititJobs(Executor):
    """submitit's jobs as futures, looked after by a thread: its own cannot be waited for together."""

    def __init__(self, executor: Any, poll_seconds: float = 1.0) -> None:
        self._executor, self._poll_seconds = executor, poll_seconds
        self._jobs: dict[Future[Any], Any] = {}
        self._failures = Counter[Future[Any]]()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Submit a job."""
        job = self._executor.submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        self._jobs[future] = job
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Look after no job any more; those of cancelled futures leave the queue."""
        self._over.set()
        self._watcher.join()
        for future, job in self._jobs.items():
            if future.cancelled():
                with suppress(OSError):
                    job.cancel(check=False)

    def _watch(self) -> None:
        while not self._over.wait(self._poll_seconds):
            for future, job in list(self._jobs.items()):
                self._look_at(future, job)

    def _look_at(self, future: "Future[Any]", job: Any) -> None:
        """Settle the future of a job that has ended; one that cannot be asked now is asked again."""
        result, failure = None, None
        try:
            if future.cancelled():
                job.cancel(check=False)
            elif job.done():
                result, failure = _result(job)
            else:
                self._failures[future] = 0
                return
        except Exception as error:  # an error here must not end the thread: no future would be settled any more
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


def _result(job: Any) -> tuple[Any, Exception | None]:
    """What the call in a job returned, or how the job was lost; an OSError where that cannot be read now."""
    try:
        return job.result(), None
    except OSError:
        raise
    except Exception as error:
        said = f"job {job.job_id} left no result, its state is {job.state}; its log is {job.paths.stderr}"
        failure = RuntimeError(said)
        failure.__cause__ = error
        return None, failure
