"""Worker processes that encode blocks, and return them in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import connection, parent_process, resource_tracker

from deepen.data.preparation.blocks import Block, Placed
from deepen.data.preparation.worker import EncodedBlock, Encoder, encode_block
from deepen.errors import RunError

_AHEAD = 2
"""Blocks per worker that are read ahead."""

_WARNINGS = "PYTHONWARNINGS"

_encoder: Encoder


def encode_blocks(
    encoder: Encoder, blocks: Iterator[Placed], workers: int
) -> Iterator[tuple[Placed, EncodedBlock]]:
    """Encode blocks, in worker processes if there are several of both.

    The results have the order of the blocks, whatever the number of workers.

    Raises:
        RunError: a worker process died.
    """
    first = list(islice(blocks, 2))
    blocks = chain(first, blocks)
    if workers == 1 or len(first) < 2:  # processes take a second to start
        for placed in blocks:
            yield placed, encode_block(encoder, placed.block)
        return
    with _open_pool(encoder, workers) as submit:
        waiting = deque[tuple[Placed, Future[EncodedBlock]]]()
        for placed in blocks:
            waiting.append((placed, submit(placed.block)))
            if len(waiting) > _AHEAD * workers:
                before, future = waiting.popleft()
                yield before, future.result()
        for before, future in waiting:
            yield before, future.result()


@contextmanager
def _open_pool(encoder: Encoder, workers: int) -> Iterator[Callable[[Block], Future[EncodedBlock]]]:
    _start_quiet_tracker()
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(encoder,))
    try:
        yield lambda block: pool.submit(_encode, block)
    except BrokenProcessPool:
        raise RunError(
            "a process that tokenizes was ended from outside, perhaps because memory ran out",
            remedy="the same command continues; use fewer `workers` if it happens again",
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start_quiet_tracker() -> None:
    """Start the process that removes the pool's semaphores after a signal, without its warning that it does so."""
    before = os.environ.get(_WARNINGS)
    os.environ[_WARNINGS] = ",".join(filter(None, [before, "ignore:resource_tracker"]))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[_WARNINGS]
        else:
            os.environ[_WARNINGS] = before


def _begin(encoder: Encoder) -> None:
    """Set up a worker process: it encodes on one thread, and ends when the process that started it does."""
    global _encoder
    _encoder = encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _encode(block: Block) -> EncodedBlock:
    return encode_block(_encoder, block)
