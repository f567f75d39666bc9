"""A command that torchrun started in many processes: one of them runs it, the others follow."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import partial

import torch

from deepen.cli.entry import leave, main
from deepen.cli.requests.options import Problems
from deepen.train.distributed.follower import follow
from deepen.train.distributed.processes import Link, World, is_of_connection, join, processes, say

COMMANDS = ("train", "study")
"""What trains; everything else is done in one process."""


def run_together(argv: Sequence[str]) -> int:
    """Run a command on rank 0 and follow on the others; returns the exit code, the same on all of them."""
    try:
        size = processes()
        if argv and argv[0] in COMMANDS:
            return _join(argv) if size > 1 else main(argv, None)
        if size > 1:
            raise ValueError(f"{' '.join(['deepen', *argv[:1]])} runs in one process: leave out torchrun")
        return main(argv, None)
    except ValueError as error:
        raise Problems([str(error)]) from None


def _join(argv: Sequence[str]) -> int:
    is_leader = os.environ["RANK"] == "0"
    if not is_leader:  # until there is somebody to tell
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    world = join()
    assert world.link is not None
    code = _lead(world, world.link, argv) if is_leader else _follow(world, world.link)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _lead(world: World, link: Link, argv: Sequence[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, partial(_leave, link))
    try:
        code = main(argv, world)
    except SystemExit as left:  # after --help
        code = int(left.code or 0)
    except Exception:
        traceback.print_exc()
        code = 1
    if link.in_step:
        link.tell("quit", code)
        link.part()
        return code
    link.leave(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what the processes began together does not end without the others


def _leave(link: Link, number: int, frame: object) -> None:
    link.leave(130)
    leave(number, frame)


def _follow(world: World, link: Link) -> int:
    """Follow to the end; what goes wrong here is for rank 0 to tell.

    A signal is told to rank 0, which may be on a machine that got none: it finishes the step, saves, and tells
    all to leave.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: link.ask_to_stop())
    try:
        return follow(world)
    except Exception as error:
        if is_of_connection(error):
            link.wait_for_word()
            if world.rank == 1:
                say(
                    "error: process 0 ended without a word (killed, or out of memory?): the same command continues"
                )
        else:
            if not isinstance(error, OSError | ValueError | MemoryError | torch.OutOfMemoryError):
                traceback.print_exc()
            link.failed(error)
        os._exit(1)  # rank 0 waits for this process no longer, and finds the note
