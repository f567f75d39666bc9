"""Training segments on this machine: one after another in this process, or in several worker processes.

Each worker process is a separate pool, because a pool of several processes breaks when one of them dies. On a
machine with GPUs, each process sees one GPU; if there are more processes than GPUs, they share.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

import torch

from deepen.messages import write_to_stderr
from deepen.study.define.executor import ExecutorChoice
from deepen.study.run.executors.interface import ExecutorKind, SegmentExecutor, Setting, WorkerPool
from deepen.study.run.job import Job, Outcome
from deepen.study.run.ownership import open_session
from deepen.study.run.signals import ignore_signals, signals_blocked
from deepen.study.run.worker import train_segment
from deepen.study.run.worker_process import train_in_worker
from deepen.train.device import pick_device
from deepen.train.limits import fair_threads, usable_cores

_LAST_LINES_SECONDS = 1.0
"""Longest wait for the last lines on stderr of a process that has ended; its children may still have it open."""


def _default_jobs() -> int:
    """One segment per GPU, or per core."""
    return torch.cuda.device_count() if pick_device().type == "cuda" else usable_cores()


@contextmanager
def _open(choice: ExecutorChoice, setting: Setting) -> Iterator[SegmentExecutor]:
    jobs = choice.jobs or _default_jobs()
    if jobs == 1 or setting.world.size > 1:  # the other processes of a world follow this one
        torch.set_num_threads(setting.threads)
        yield ThisProcess(setting)
        return
    with open_session(setting.folder) as session, LocalProcesses(jobs) as processes:
        call = partial(train_in_worker, session.token, setting.threads)
        with WorkerPool(processes, call, lambda: jobs, session).until_all_stopped() as pool:
            yield pool


KIND = ExecutorKind(
    trains_here=True,
    check=lambda choice: None,
    default_jobs=_default_jobs,
    default_threads=lambda jobs: fair_threads(jobs or 1),
    open=_open,
)


class ThisProcess:
    """Trains each segment immediately, in the thread that submits it."""

    def __init__(self, setting: Setting) -> None:
        self._should_stop: Callable[[], bool] = setting.stop.is_set
        self._world = setting.world

    def capacity(self) -> int:
        """One segment at a time."""
        return 1

    def submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        """Train a segment now; the future is done when this returns."""
        future: Future[Outcome] = Future()
        try:
            future.set_result(Outcome(finished=train_segment(job, self._should_stop, world=self._world)))
        except Exception as error:
            future.set_result(Outcome(error=error))
        return future

    def stop(self) -> None:
        """Do nothing, as no segment is in training between two calls of `submit`."""


class LocalProcesses(Executor):
    """Worker processes of this machine; if one dies, the others continue."""

    def __init__(self, processes: int) -> None:
        self._pools: list[ProcessPoolExecutor | None] = [None] * processes
        self._latest: list[Future[Any] | None] = [None] * processes
        self._forwarders: list[threading.Thread] = []
        with signals_blocked():  # inherited by this helper, which would unblock some while the first worker starts
            resource_tracker.ensure_running()
        self._devices = visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Run a call in an idle process; the caller ensures that there is one."""
        index = next(i for i, future in enumerate(self._latest) if future is None or future.done())
        with signals_blocked(), _without_main():  # a process started here inherits the mask
            try:
                future = self._pool(index).submit(fn, *args, **kwargs)
            except BrokenExecutor:  # its process died during the previous call
                self._pools[index] = None
                future = self._pool(index).submit(fn, *args, **kwargs)
        self._latest[index] = future
        return future

    def _pool(self, index: int) -> ProcessPoolExecutor:
        pool = self._pools[index]
        if pool is None:
            device = self._devices[index % len(self._devices)] if self._devices else None
            context = multiprocessing.get_context("spawn")
            reader, writer = context.Pipe(duplex=False)
            pool = ProcessPoolExecutor(1, context, initializer=_begin_process, initargs=(device, writer))
            pool.submit(int)  # starts the process, so that it has the writer
            writer.close()
            forwarder = threading.Thread(target=_forward_lines, args=(reader,), name="stderr", daemon=True)
            forwarder.start()
            self._forwarders.append(forwarder)
            self._pools[index] = pool
        return pool

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes after their current calls."""
        for pool in self._pools:
            if pool is not None:
                pool.shutdown(wait=wait, cancel_futures=cancel_futures)
        for forwarder in self._forwarders if wait else ():
            forwarder.join(_LAST_LINES_SECONDS)


@contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not execute the calling script again.

    They need nothing of it, and it may have no guard against being executed twice, or no file, as in a pipe.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def visible_devices(visible: str | None, count: int) -> Sequence[str]:
    """Names of the usable GPUs of this machine, for CUDA_VISIBLE_DEVICES.

    Args:
        visible: CUDA_VISIBLE_DEVICES of this process; None if it is not set.
        count: number of GPUs that this process can use.
    """
    names = visible.split(",") if visible is not None else [str(index) for index in range(count)]
    return [name.strip() for name in names][:count]


def _begin_process(device: str | None, stderr: Connection) -> None:
    """Prepare a worker process: ignore signals, end with the parent, see one device only, and print through it."""
    ignore_signals()
    os.dup2(stderr.fileno(), 2)
    if device is not None:  # CUDA reads it later, when it is first used
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    _end_with_parent()


def _forward_lines(reader: Connection) -> None:
    """Print what a worker process writes to stderr, line by line, above the progress shown there."""
    with open(reader.fileno(), encoding="utf-8", errors="backslashreplace", closefd=False) as lines:
        for line in lines:
            with suppress(Exception):  # nobody can read it; the worker must not wait
                write_to_stderr(line.rstrip("\n"))
    reader.close()


def _end_with_parent() -> None:
    """End this process when its parent is gone, so that no orphan continues to write."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
