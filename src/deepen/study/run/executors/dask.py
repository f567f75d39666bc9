"""Segments on the workers of a Dask scheduler."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from deepen import __version__

_CONNECT_SECONDS = 10


@contextmanager
def dask_client(address: str) -> Iterator[Any]:
    """A connection to a scheduler.

    Raises:
        ValueError: it does not answer.
    """
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is told once, by us
    try:
        client: Any = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(
            f"--executor dask: no scheduler answers at {address} ({said}): start it, or correct its address"
        ) from None
    with client:
        yield client


def count_workers(client: Any) -> int:
    """Workers there are now; at least 1, for which a segment then waits."""
    return max(1, len(client.nthreads()))


def check_workers(client: Any) -> None:
    """Raise a ValueError where a worker would train otherwise than here, or several segments in one process."""
    here = versions()
    try:
        found = client.run(versions)
    except Exception as error:
        raise ValueError(
            f"--executor dask: its workers cannot run deepen ({type(error).__name__}: {error}): install it there"
        ) from None
    threads = client.nthreads()
    for worker, there in found.items():
        _check_worker(worker, threads.get(worker, 1), there, here)


def check_this_worker(here: tuple[str, str]) -> None:
    """The same of the worker that runs this, which may have come after the others were checked.

    Args:
        here: versions where the study runs.
    """
    from distributed import get_worker

    worker: Any = get_worker()
    _check_worker(worker.address, worker.state.nthreads, versions(), here)


def _check_worker(worker: str, threads: int, there: tuple[str, str], here: tuple[str, str]) -> None:
    if threads != 1:
        raise ValueError(
            f"--executor dask: worker {worker} has {threads} Dask threads, and each would train a segment "
            "in the same process: start workers with --nthreads 1 (dask:ADDRESS,threads=N gives it cores)"
        )
    if there != here:
        raise ValueError(
            f"--executor dask: worker {worker} has deepen {there[0]} and torch {there[1]}, "
            f"here are {here[0]} and {here[1]}: install the same"
        )


def versions() -> tuple[str, str]:
    """Those that numbers depend on."""
    return __version__, torch.__version__
