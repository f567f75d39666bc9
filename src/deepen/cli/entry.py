"""`deepen COMMAND ...`: dispatch, and the one place where errors become lines and exit codes.

0 done; 1 the run failed; 2 the request was wrong; 130 interrupted, state saved.
"""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from deepen import __version__
from deepen.cli.requests.options import Problems, Stopped, nearest

if TYPE_CHECKING:
    from deepen.train.distributed.processes import World

COMMANDS = {
    "study": "run or continue a study: quickstart, paper, or a Python file",
    "train": "train one arm",
    "plan": "what a recipe or a study costs; trains nothing",
    "bench": "what each kind of phase takes on this device, measured against the ledger",
    "store": "check that a study's folder is whole; prune the states it no longer needs",
    "report": "draw a study's figures and page again",
    "recipes": "list recipes, growth operators, placements, moment policies, partitions, rates",
    "doctor": "what this machine offers, and what is missing for which command",
}


def entry() -> int:
    """The command as a process: SIGINT and SIGTERM end it with one line, wherever they find it.

    While segments are trained, `study.run` takes them over, to finish the step and save. Everything else is
    written whole or not at all, so the process leaves at once.
    """
    if sys.stdout is None:  # somebody closed it
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    if "WORLD_SIZE" not in os.environ:
        return main()
    from deepen.cli.distributed import run_distributed  # imports torch

    try:
        return run_distributed(sys.argv[1:])
    except Problems as wrong:
        return _fail(2, wrong.problems if os.environ.get("RANK", "0") == "0" else [])


def leave(number: int, frame: object) -> None:
    """End at a signal, with one line."""
    print("stopped; what was complete is kept: the same command continues", file=sys.stderr, flush=True)
    os._exit(130)


def main(arguments: Sequence[str] | None = None, world: "World | None" = None) -> int:
    """Run a command; returns the exit code.

    Args:
        world: the processes that this one leads.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"deepen {__version__}")
        return 0
    name = argv[0]
    if name not in COMMANDS:
        return _fail(2, [f"command {name!r} is unknown{nearest(name, COMMANDS)}: use {', '.join(COMMANDS)}"])
    try:
        return _run(name, argv[1:], world)
    except Problems as wrong:
        return _fail(2, wrong.problems)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Stopped as stopped:
        return _fail(stopped.code, [str(stopped)])
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return _fail(1, [f"{error.strerror or error}{where}; nothing that was complete is lost"])


def _run(name: str, argv: Sequence[str], world: "World | None") -> int:
    run = import_module(f"deepen.cli.commands.{name}").run
    result: int = run(argv) if world is None else run(argv, world)
    return result


def _fail(code: int, lines: Sequence[str]) -> int:
    for line in lines:
        print(line if code == 130 else f"error: {line}", file=sys.stderr)
    return code


def _usage() -> str:
    rows = "\n".join(f"  deepen {name:8} {what}" for name, what in COMMANDS.items())
    return (
        f"deepen {__version__}: train language models by growing them deeper, and find out whether it pays\n\n"
        f"{rows}\n\nEach takes --help. To begin: deepen study quickstart"
    )


if __name__ == "__main__":
    sys.exit(entry())
