"""The interface of executors, and the part that executors with worker processes share.

An exception raised by training is returned in `Outcome.error`. So an exception of the future itself means that the
worker or the executor was lost.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from deepen.study.define.executor import ExecutorChoice
from deepen.study.run.errors import WorkersLostError
from deepen.study.run.job import Job, Outcome
from deepen.study.run.ownership import Session
from deepen.train.distributed.processes import ONE_PROCESS, World


class SegmentExecutor(Protocol):
    """Trains segments, several in parallel."""

    def capacity(self) -> int:
        """The number of segments to train in parallel; raises a WorkersLostError if the executor is gone."""

    def submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        """Submit a segment for training; raises a WorkersLostError if the executor refuses it.

        Args:
            job: the segment.
            attempt: number of the attempt, from 1.
        """

    def stop(self) -> None:
        """Ask all workers to finish their step, save and stop; can be called repeatedly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The part of a run that its executor must know.

    Attributes:
        folder: the study's folder.
        threads: CPU threads per segment.
        stop: set when the run should stop.
        world: the processes that train each segment together; one, unless torchrun started more.
    """

    folder: Path
    threads: int
    stop: Event
    world: World = ONE_PROCESS


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorKind:
    """A kind of executor. A new kind is a module with one of these, and an entry in `registry`.

    Attributes:
        trains_here: whether segments are trained on this machine, so that its devices and compiler matter.
        check: raises an InvalidValueError if the executor is not available here.
        default_jobs: default number of segments in parallel; None if the executor decides it while it runs.
        default_threads: default CPU threads per segment, given the number of segments in parallel.
        open: opens the executor for a `with` block, which ends when all workers have stopped.
    """

    trains_here: bool
    check: Callable[[ExecutorChoice], None]
    default_jobs: Callable[[], int | None]
    default_threads: Callable[[int | None], int]
    open: Callable[[ExecutorChoice, Setting], AbstractContextManager[SegmentExecutor]]


class WorkerPool:
    """A segment executor whose workers are other processes, stopped through the session in the study's folder.

    Args:
        executor: runs calls in worker processes.
        call: trains a segment, given a job and the number of the attempt.
        capacity: the number of segments to train in parallel.
        session: the connection to the workers.
    """

    def __init__(
        self,
        executor: Executor,
        call: Callable[[Job, int], Outcome],
        capacity: Callable[[], int],
        session: Session,
    ) -> None:
        self._executor, self._call, self._capacity, self._session = executor, call, capacity, session
        self._running: dict[Future[Outcome], str] = {}
        self._is_stopped = False

    def capacity(self) -> int:
        """See `SegmentExecutor.capacity`."""
        with _executor_errors_as_loss():
            return self._capacity()

    def submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        """See `SegmentExecutor.submit`."""
        with _executor_errors_as_loss():
            future = self._executor.submit(self._call, job, attempt)
        self._running[future] = job.node.key
        future.add_done_callback(lambda done: self._running.pop(done, None))
        return future

    def stop(self) -> None:
        """See `SegmentExecutor.stop`; calls that still wait for a machine are cancelled."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._session.stop()
        for future, key in list(self._running.items()):
            if not self._session.is_held(key):
                future.cancel()  # if it still starts, it finds the session stopped

    @contextmanager
    def until_all_stopped(self) -> Iterator["WorkerPool"]:
        """A `with` block that ends by stopping the workers and waiting for them."""
        try:
            yield self
        finally:
            self.stop()
            wait([future for future in list(self._running) if not future.cancelled()])


@contextmanager
def _executor_errors_as_loss() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # from another library, which may raise anything
        reason = next(iter(str(error).splitlines()), "")
        raise WorkersLostError(
            f"the executor takes no more segments ({type(error).__name__}: {reason})"
        ) from error
