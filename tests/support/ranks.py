"""Real processes that train together: a pool that many tests use, and groups that a test can break."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch

from deepen.cli.distributed import end_now, run_distributed
from deepen.train.distributed.commands import Quit
from deepen.train.distributed.follower import follow
from deepen.train.distributed.processes import World, join

Work = Callable[..., Any]
"""A function at the top of a module: rank 0 calls it with its world and the arguments."""


class Ranks:
    """A pool of processes: rank 0 executes calls, and the others follow it."""

    def __init__(self, size: int) -> None:
        self._here, there = multiprocessing.Pipe()
        self._processes = _started(size, size, _serve, there)

    @property
    def process_ids(self) -> list[int]:
        """The processes' numbers in the system, by rank."""
        return [process.pid for process in self._processes]

    def call(self, work: Work, *arguments: Any, **options: Any) -> Any:
        """Execute the work on rank 0 and return its result; an error fails with its traceback."""
        self._here.send((work, arguments, options))
        failed, result = self._here.recv()
        assert not failed, result
        return result

    def close(self) -> None:
        """End all processes."""
        with suppress(OSError):
            self._here.send(None)
        for process in self._processes:
            process.join(30)
            process.kill()


Pools = Callable[[int], Ranks]
"""A pool of so many processes."""


def run_command(
    size: int, argv: list[str], ends: dict[int, Work], timeout_seconds: float = 200, local_size: int | None = None
) -> list[Any]:
    """Run a command in several processes, as torchrun would; returns their exit codes, None for one that hangs.

    Args:
        size: number of processes.
        argv: arguments of the command.
        ends: by rank, a function to call first in this process, to break something.
        timeout_seconds: time after which a process counts as hanging.
        local_size: how many of them are as if on one machine; None: all.
    """
    processes = _started(size, local_size or size, _command, argv, ends)
    for process in processes:
        process.join(timeout_seconds)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def _started(size: int, local_size: int, target: Work, *arguments: Any) -> list[Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_begin, args=(rank, size, local_size, port, target, *arguments), daemon=True)
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


def _begin(rank: int, size: int, local_size: int, port: int, target: Work, *arguments: Any) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank % local_size),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(local_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "CUDA_VISIBLE_DEVICES": "",  # a machine with one GPU has none for each process
    }
    torch.set_num_threads(1)
    target(rank, *arguments)


def _serve(rank: int, pipe: Connection) -> None:
    world = join(end_now)
    if rank > 0:
        follow(world)
        return
    assert world.control is not None
    while task := pipe.recv():
        work, arguments, options = task
        try:
            pipe.send((False, work(world, *arguments, **options)))
        except Exception:
            pipe.send((True, traceback.format_exc()))
    world.control.send(Quit(0))
    world.control.close()


def _command(rank: int, argv: list[str], ends: dict[int, Work]) -> None:
    if rank in ends:
        ends[rank]()
    raise SystemExit(run_distributed(argv))


def alone(work: Work, *arguments: Any, **options: Any) -> Any:
    """Execute the same work in this process alone."""
    return work(World(), *arguments, **options)
