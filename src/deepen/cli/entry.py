"""`deepen COMMAND ...`: a command line becomes a request, and a command carries it out.

    argv ── requests/NAME.py ──▶ request ── commands/NAME.py ──▶ output, exit code
                  │                                │
                  └──── problems, errors ──────────┴──▶ output/failures.py: lines, exit code

Requests are parsed without torch, which takes seconds to import: a command is imported only when its request was
right.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepen import __version__
from deepen.cli.output.failures import FAILED, INTERRUPTED, WRONG_REQUEST, print_errors, report_failure
from deepen.cli.output.stderr import STDERR
from deepen.cli.output.streams import flush_output
from deepen.cli.requests.argument_parser import build_parser
from deepen.cli.requests.catalog import COMMANDS, OVERVIEW
from deepen.cli.requests.parser import HelpRequestedError, RequestError
from deepen.errors import join_or, nearest
from deepen.messages import print_messages
from deepen.train.limits import check_room_for_torch

if TYPE_CHECKING:
    from deepen.train.distributed.processes import World

USE_TORCH = ("study", "train", "grow", "export", "sample", "store", "bench", "doctor", "eval", "verify")
"""The commands that import torch, which ends the process where it gets too little memory."""

CONTINUE = ("study", "train", "data")
"""The commands that continue what they did before; all others do it again."""


def main(argv: Sequence[str] | None = None, world: "World | None" = None) -> int:
    """Run a command; returns the exit code.

    Args:
        argv: the words after `deepen`; those of this process by default.
        world: the processes that this one leads, where torchrun started several.
    """
    print_messages(STDERR.print)
    code = _dispatch(list(sys.argv[1:] if argv is None else argv), world)
    if lost := flush_output():
        return print_errors(code or FAILED, f"standard output cannot be written: {lost.strerror}")
    return code


def _dispatch(words: list[str], world: "World | None") -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(build_parser(OVERVIEW).format_help(), end="")
        return 0 if words else WRONG_REQUEST
    if words[0] in ("version", "--version"):
        print(f"deepen {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        problem = f"command {name!r} is unknown{nearest(name, COMMANDS)}: use {join_or(COMMANDS)}"
        return print_errors(WRONG_REQUEST, problem)
    return _run_command(name, words[1:], world)


def _run_command(name: str, argv: Sequence[str], world: "World | None") -> int:
    parse: Any = import_module(f"deepen.cli.requests.{name}").parse
    request = None
    try:
        # Only commands that train know of other processes; no other command is started in several.
        parsed = parse(argv) if world is None else parse(argv, distributed=True)
        if name in USE_TORCH:
            check_room_for_torch()
            _check_current_folder()
        request = parsed
        run: Any = import_module(f"deepen.cli.commands.{name}").run
        code: int = run(request) if world is None else run(request, world)
        return code
    except HelpRequestedError as asked:
        print(build_parser(asked.command).format_help(), end="")
        return 0
    except Exception as error:
        reported = report_failure(error, request)
        if reported is None:
            raise
        return reported


def _check_current_folder() -> None:
    """Refuse a current folder that was removed: torch ends the process there when it loads MKL."""
    try:
        Path.cwd()
    except OSError:
        raise RequestError(["the current folder does not exist any more: change to another one"]) from None


def leave(command: str, number: int) -> None:
    """End a command at a signal, with one line.

    While segments are trained, `deepen.run` handles signals itself, to finish the step and save. Everything else
    is written whole or not at all, so the process can leave at once.
    """
    how = "continues" if command in CONTINUE else "begins anew"
    STDERR.print(f"stopped; what was complete is kept: the same command {how}")
    os._exit(INTERRUPTED)
