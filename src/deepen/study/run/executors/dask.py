"""Training segments on the workers of a Dask scheduler, one segment per worker."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from deepen import __version__
from deepen.errors import InvalidValueError
from deepen.study.define.executor import ExecutorChoice
from deepen.study.run.executors.interface import ExecutorKind, SegmentExecutor, Setting, WorkerPool
from deepen.study.run.job import Job, Outcome
from deepen.study.run.ownership import open_session
from deepen.study.run.worker_process import train_in_worker

CONNECT_SECONDS = 10

Versions = tuple[str, str]
"""The versions of deepen and torch, on which numbers depend."""


def _check(choice: ExecutorChoice) -> None:
    if find_spec("distributed") is None:
        raise InvalidValueError(
            "dask needs distributed", field="executor", value=choice, remedy="pip install distributed"
        )
    with _connect(choice.address) as client:
        check_workers(client)


@contextmanager
def _open(choice: ExecutorChoice, setting: Setting) -> Iterator[SegmentExecutor]:
    with open_session(setting.folder) as session, _connect(choice.address) as client:
        call = partial(_train_on_worker, _versions(), session.token, setting.threads)
        executor = client.get_executor(pure=False)
        with WorkerPool(executor, call, partial(_count_workers, client), session).until_all_stopped() as pool:
            yield pool


KIND = ExecutorKind(
    trains_here=False,
    check=_check,
    default_jobs=lambda: None,
    default_threads=lambda jobs: 1,
    open=_open,
)


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    """Connect a client to a scheduler, for a `with` block.

    Raises:
        InvalidValueError: the scheduler does not answer.
    """
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are reported by deepen alone
    try:
        client: Any = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidValueError(
            f"dask: no scheduler answers at {address} ({reason})",
            field="executor",
            value=address,
            remedy="start it, or correct its address",
        ) from None
    with client:
        yield client


def _count_workers(client: Any) -> int:
    """The present number of workers; at least 1, so that a segment waits for the first worker."""
    return max(1, len(client.nthreads()))


def check_workers(client: Any) -> None:
    """Raise an InvalidValueError if a worker has other versions or more than one thread for segments."""
    try:
        found = client.run(_versions)
    except Exception as error:
        raise InvalidValueError(
            f"dask: its workers cannot run deepen ({type(error).__name__}: {error})",
            field="executor",
            remedy="install it there",
        ) from None
    threads = client.nthreads()
    for worker, versions in found.items():
        _check_worker(worker, threads.get(worker, 1), versions, _versions())


def _train_on_worker(expected: Versions, session: str, threads: int, job: Job, attempt: int) -> Outcome:
    """Train a segment on this worker, which may have joined after the others were checked."""
    from distributed import get_worker

    worker: Any = get_worker()
    try:
        _check_worker(worker.address, worker.state.nthreads, _versions(), expected)
    except InvalidValueError as error:
        return Outcome(error=error)
    return train_in_worker(session, threads, job, attempt)


def _check_worker(worker: str, threads: int, versions: Versions, expected: Versions) -> None:
    if threads != 1:
        raise InvalidValueError(
            f"dask: worker {worker} has {threads} Dask threads, and each would train a segment "
            "in the same process",
            field="executor",
            remedy="start workers with --nthreads 1 (dask:ADDRESS,threads=N gives it cores)",
        )
    if versions != expected:
        raise InvalidValueError(
            f"dask: worker {worker} has deepen {versions[0]} and torch {versions[1]}, "
            f"here are {expected[0]} and {expected[1]}",
            field="executor",
            remedy="install the same",
        )


def _versions() -> Versions:
    return __version__, torch.__version__
