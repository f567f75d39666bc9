"""Where segments are trained: in this process, in processes of this machine, in SLURM jobs, on Dask's workers.

Each is a `concurrent.futures.Executor`. What a call raises is a value of its `Outcome`; so an exception of the
future is the executor's own, and says that the worker was lost.
"""

import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from deepen.study.define.executor import ExecutorChoice
from deepen.study.run.executors.dask import check_this_worker, check_workers, count_workers, dask_client, versions
from deepen.study.run.executors.local import LocalProcesses
from deepen.study.run.executors.slurm import JOBS, check_slurm, leave_requested, slurm_jobs
from deepen.study.run.ownership import Claim, Session, SupersededError, session_of
from deepen.study.run.worker import Job, train_segment
from deepen.study.store.study_folder import Store, warn
from deepen.train.device import pick_device
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.limits import usable_cores


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a segment: trained to its end, stopped before, or the error that its training ended with."""

    finished: bool = False
    error: Exception | None = None


class WorkersLostError(Exception):
    """A segment lost its worker again and again, or there is no executor any more."""


Call = Callable[[Job, int], Outcome]
"""Trains a segment; the number says which attempt at it this is."""


class Workers:
    """An executor with what the scheduler needs beside it: how many at once, and how to stop."""

    def __init__(
        self, executor: Executor, call: Call, capacity: Callable[[], int], session: Session | None = None
    ) -> None:
        self._executor, self._call, self._capacity, self._session = executor, call, capacity, session
        self._running: dict[Future[Outcome], str] = {}
        self._stopped = False

    def capacity(self) -> int:
        """Segments trained at once; a WorkersLostError where the executor is gone."""
        with _executor_asked():
            return self._capacity()

    def submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        """Have a segment trained; a WorkersLostError where the executor takes none."""
        with _executor_asked():
            future = self._executor.submit(self._call, job, attempt)
        self._running[future] = job.node.key
        future.add_done_callback(lambda done: self._running.pop(done, None))
        return future

    def stop(self) -> None:
        """Ask all to finish their step, save and leave; what waits for a machine is cancelled."""
        if self._session is not None and not self._stopped:
            self._stopped = True
            self._session.stop()
            for future, key in list(self._running.items()):
                if not self._session.is_held(key):
                    future.cancel()  # where it has begun all the same, it finds the session stopped

    def leave(self) -> None:
        """Stop, and wait until all have left."""
        self.stop()
        wait([future for future in list(self._running) if not future.cancelled()])


@contextmanager
def _executor_asked() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of somebody else's library, which may raise anything
        said = next(iter(str(error).splitlines()), "")
        raise WorkersLostError(f"the executor takes no more segments ({type(error).__name__}: {said})") from error


def check_executor(choice: ExecutorChoice) -> None:
    """Raise a ValueError where a choice cannot be had here: an extra, a scheduler or its workers are missing."""
    needed = {"slurm": "submitit", "dask": "distributed"}.get(choice.kind)
    if needed and find_spec(needed) is None:
        raise ValueError(f"--executor {choice.kind} needs {needed}: pip install 'deepen[cluster]'")
    if choice.kind == "slurm":
        check_slurm(choice)
    if choice.kind == "dask":
        with dask_client(choice.address) as client:
            check_workers(client)


def default_jobs() -> int:
    """Segments trained at once on this machine: one a GPU, or one a core."""
    return torch.cuda.device_count() if pick_device().type == "cuda" else usable_cores()


@contextmanager
def open_workers(
    choice: ExecutorChoice, folder: Path, threads: int, stop: threading.Event, world: World = ONE_PROCESS
) -> Iterator[Workers]:
    """The workers of a choice for the study in `folder`; leaving waits until all of them have left.

    Args:
        threads: CPU threads of each segment.
        world: the processes that train together what is trained in this one.
        stop: stops what is trained in this process; workers elsewhere are stopped by `Workers.stop`.
    """
    if choice.kind == "local" and (jobs := choice.jobs or default_jobs()) == 1:
        torch.set_num_threads(threads)
        yield Workers(_Here(), partial(_train_here, stop, world), lambda: 1)
        return
    with session_of(folder) as session:
        call: Call = partial(work, session.token, threads)
        if choice.kind == "local":
            with LocalProcesses(jobs) as processes:
                yield from _until_left(Workers(processes, call, lambda: jobs, session))
        elif choice.kind == "slurm":
            with slurm_jobs(choice, folder) as submitted:
                call = partial(work_in_slurm_job, session.token, threads)
                yield from _until_left(Workers(submitted, call, lambda: choice.jobs or JOBS, session))
        else:
            with dask_client(choice.address) as client:
                executor = client.get_executor(pure=False)
                call = partial(work_on_dask, versions(), session.token, threads)
                yield from _until_left(Workers(executor, call, partial(count_workers, client), session))


def _until_left(workers: Workers) -> Iterator[Workers]:
    try:
        yield workers
    finally:
        workers.leave()


class _Here(Executor):
    """Runs what is submitted at once, in this thread."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Run it now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _train_here(stop: threading.Event, world: World, job: Job, _: int) -> Outcome:
    try:
        return Outcome(finished=train_segment(job, stop.is_set, world=world))
    except Exception as error:
        return Outcome(error=error)


def work(session: str, threads: int, job: Job, attempt: int, leave: Callable[[], bool] = lambda: False) -> Outcome:
    """Train a segment in a worker process, wherever that is.

    Raises:
        SupersededError: another attempt at this segment is the latest.
    """
    torch.set_num_threads(threads)
    try:
        with Claim(job.folder, job.node.key, session, attempt) as claim:
            if claim.should_stop():
                return Outcome()
            if attempt > 1:
                folder = Store(job.folder).segment(job.node.key, claim.check)
                if folder.done is not None:  # the attempt before was lost only after its end
                    return Outcome(finished=True)
                for problem in folder.recover_state(verify=True):
                    warn(f"{problem}; going on from the newest good state before it")
            return Outcome(finished=train_segment(job, lambda: leave() or claim.should_stop(), claim.check))
    except SupersededError:
        raise
    except Exception as error:
        error.add_note(traceback.format_exc())  # a traceback does not travel
        return Outcome(error=error)


def work_in_slurm_job(session: str, threads: int, job: Job, attempt: int) -> Outcome:
    """The same in a SLURM job, which saves and leaves when its time is nearly up."""
    return work(session, threads, job, attempt, leave_requested())


def work_on_dask(here: tuple[str, str], session: str, threads: int, job: Job, attempt: int) -> Outcome:
    """The same on a worker of Dask; one that came late and is not as it must be ends the run."""
    try:
        check_this_worker(here)
    except ValueError as error:
        return Outcome(error=error)
    return work(session, threads, job, attempt)
