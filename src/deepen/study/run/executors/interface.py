"""What the scheduler needs of an executor, and the part that executors with worker processes share.

Each executor is a `concurrent.futures.Executor`, with two additions: how many segments it trains at once, and how
to stop them all. An exception raised by training is returned, in `Outcome.error`. So an exception of the future
itself means that the worker, or the executor, was lost.
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
    """Trains segments, several at once."""

    def capacity(self) -> int:
        """How many segments are trained at once; raises a WorkersLostError where the executor is gone."""

    def submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        """Have a segment trained; raises a WorkersLostError where the executor takes none.

        Args:
            job: the segment.
            attempt: how often it was submitted, this time included.
        """

    def stop(self) -> None:
        """Ask all workers to finish their step, save and leave; may be called more than once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The circumstances in which an executor trains a study's segments.

    Attributes:
        folder: the study's folder.
        threads: CPU threads of each segment.
        stop: set when the run is to stop.
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
        trains_here: segments are trained on this machine, so its devices and compiler are what counts.
        check: raises an InvalidValueError where the choice cannot be had here.
        default_jobs: segments trained at once where the choice leaves it open; None where only the executor knows.
        default_threads: CPU threads of a segment, given how many are trained at once.
        open: the executor, for a `with` block that ends once all workers have left.
    """

    trains_here: bool
    check: Callable[[ExecutorChoice], None]
    default_jobs: Callable[[], int | None]
    default_threads: Callable[[int | None], int]
    open: Callable[[ExecutorChoice, Setting], AbstractContextManager[SegmentExecutor]]


class WorkerPool:
    """An executor whose workers are other processes: they are stopped through the session in the study's folder.

    Args:
        executor: runs calls in worker processes.
        call: trains a segment, given a job and the number of the attempt.
        capacity: how many segments are trained at once.
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
        """As `SegmentExecutor.capacity`."""
        with _executor_errors_as_loss():
            return self._capacity()

    def submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        """As `SegmentExecutor.submit`."""
        with _executor_errors_as_loss():
            future = self._executor.submit(self._call, job, attempt)
        self._running[future] = job.node.key
        future.add_done_callback(lambda done: self._running.pop(done, None))
        return future

    def stop(self) -> None:
        """As `SegmentExecutor.stop`; what still waits for a machine is cancelled."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._session.stop()
        for future, key in list(self._running.items()):
            if not self._session.is_held(key):
                future.cancel()  # if it starts all the same, it finds the session stopped

    @contextmanager
    def until_all_have_left(self) -> Iterator["WorkerPool"]:
        """This pool, for a `with` block that ends by stopping the workers and waiting for them."""
        try:
            yield self
        finally:
            self.stop()
            wait([future for future in list(self._running) if not future.cancelled()])


@contextmanager
def _executor_errors_as_loss() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # raised by another library, which may raise anything
        reason = next(iter(str(error).splitlines()), "")
        raise WorkersLostError(
            f"the executor takes no more segments ({type(error).__name__}: {reason})"
        ) from error
