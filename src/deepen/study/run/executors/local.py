"""Worker processes of this machine, a device each, none of which takes another with it when it dies."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch


class LocalProcesses(Executor):
    """A pool of one process for each place: a pool of several breaks whole when one of its processes dies.

    With GPUs, each process sees only the one that is its own; where there are more processes than
    GPUs, several share one at the same time.
    """

    def __init__(self, processes: int) -> None:
        self._pools: list[ProcessPoolExecutor | None] = [None] * processes
        self._latest: list[Future[Any] | None] = [None] * processes
        self._devices = visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Run a call in a process that has nothing to do; there must be one."""
        place = next(i for i, future in enumerate(self._latest) if future is None or future.done())
        with _signals_held():  # a process that this starts inherits it
            try:
                future = self._pool(place).submit(fn, *args, **kwargs)
            except BrokenExecutor:  # its process died of the call before
                self._pools[place] = None
                future = self._pool(place).submit(fn, *args, **kwargs)
        self._latest[place] = future
        return future

    def _pool(self, place: int) -> ProcessPoolExecutor:
        pool = self._pools[place]
        if pool is None:
            device = self._devices[place % len(self._devices)] if self._devices else None
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, context, initializer=_begin_process, initargs=(device,))
            self._pools[place] = pool
        return pool

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, after the calls that they are at."""
        for pool in self._pools:
            if pool is not None:
                pool.shutdown(wait=wait, cancel_futures=cancel_futures)


def visible_devices(visible: str | None, count: int) -> Sequence[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them, by what it says already.

    Args:
        visible: CUDA_VISIBLE_DEVICES of this process, None where it is not set.
        count: GPUs that this process can use.
    """
    names = visible.split(",") if visible is not None else [str(index) for index in range(count)]
    return [name.strip() for name in names][:count]


def _begin_process(device: str | None) -> None:
    """A process leaves signals to the one that started it, does not outlive it, and sees its own device alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if device is not None:  # CUDA reads it when it is first used, which is later
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    _die_with_parent()


def _die_with_parent() -> None:
    """End this process when the one that started it is gone, so that no orphan writes on."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back for a moment."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
