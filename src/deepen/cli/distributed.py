"""A command that torchrun started in many processes: rank 0 runs it, the others follow.

Exit codes and what is printed are decided here: all processes end with the same code, and only one of them reports
an error.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial

import torch.distributed as dist

from deepen.cli.entry import leave, main
from deepen.cli.output.failures import FAILED, INTERRUPTED, WRONG_REQUEST, is_explained, print_errors
from deepen.cli.requests.parser import RequestError
from deepen.errors import InvalidValueError
from deepen.study.run.signals import watch_signals
from deepen.train.distributed.commands import Quit
from deepen.train.distributed.control import ControlChannel
from deepen.train.distributed.failure import Ending
from deepen.train.distributed.follower import follow
from deepen.train.distributed.gpus import UnusableGPUsError
from deepen.train.distributed.processes import World, count_processes, is_connection_error, join

COMMANDS = ("train", "study")
"""The commands that train; all others run in one process."""


def run_distributed(argv: Sequence[str]) -> int:
    """Run a command in this process, together with the others of its world; returns the exit code of all.

    Raises:
        RequestError: the launcher's variables cannot be used, or the command runs in one process.
    """
    trains = bool(argv) and argv[0] in COMMANDS
    if _is_about_deepen(argv) or not (trains or "RANK" in os.environ):  # no launcher started this command
        return main(argv)
    try:
        if count_processes() == 1:
            return main(argv)
        if not trains:
            raise RequestError([f"{' '.join(['deepen', *argv[:1]])} runs in one process: leave out torchrun"])
        return _join_and_run(argv)
    except InvalidValueError as error:
        raise RequestError([str(error)]) from None


def _is_about_deepen(argv: Sequence[str]) -> bool:
    """Whether a command only prints help or the version."""
    return not argv or argv[0] in ("help", "version", "--version") or not {"-h", "--help"}.isdisjoint(argv)


def end_now(ending: Ending) -> None:
    """End this process at once, from the thread that watches the others."""
    if ending.failure:
        print_errors(FAILED, f"{ending.failure}; the same command continues")
    os._exit(FAILED if ending.status is None else ending.status)


def _join_and_run(argv: Sequence[str]) -> int:
    is_leader = os.environ["RANK"] == "0"
    with nullcontext() if is_leader else watch_signals(lambda _: None):  # until there is a leader to receive them
        try:
            world = join(end_now)
        except UnusableGPUsError as error:  # raised by all processes: one reports it
            return print_errors(WRONG_REQUEST, *([str(error)] if is_leader else []))
        except InvalidValueError as error:  # may concern this process only
            return print_errors(WRONG_REQUEST, str(error))
        except dist.DistError as error:
            return print_errors(FAILED, f"cannot connect to the other processes: {str(error).splitlines()[0]}")
        assert world.control is not None
        code = _lead(world, world.control, argv) if is_leader else _follow(world, world.control)
        _flush()
        return code


def _lead(world: World, control: ControlChannel, argv: Sequence[str]) -> int:
    with watch_signals(partial(_end_all, control, argv[0])):
        try:
            code = main(argv, world)
        except Exception:
            traceback.print_exc()
            code = FAILED
        if control.is_idle:
            with suppress(RuntimeError):  # another process died when all was done
                control.send(Quit(code))
                control.close()
                return code
        control.notes.end_others(code)
        _flush()
        os._exit(code)  # an operation that all processes take part in cannot end without one of them


def _end_all(control: ControlChannel, command: str, number: int) -> None:
    control.notes.end_others(INTERRUPTED)
    leave(command, number)


def _follow(world: World, control: ControlChannel) -> int:
    """Follow rank 0 to the end; rank 0 reports what fails here.

    A signal is passed on to rank 0, which may be on a machine that received none: it finishes the step, saves, and
    ends all processes.
    """
    try:
        with watch_signals(lambda _: control.notes.request_stop()):
            return follow(world)
    except Exception as error:
        if is_connection_error(error):
            control.notes.wait_to_be_ended()
            if world.rank == 1:
                print_errors(FAILED, "process 0 died (killed, or out of memory?): the same command continues")
        else:
            if not is_explained(error):
                traceback.print_exc()
            control.notes.report_failure(error)
        os._exit(FAILED)  # rank 0 no longer waits for this process, and finds the note


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
