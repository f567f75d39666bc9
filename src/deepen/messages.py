"""Warnings and notes of the library, printed on stderr.

The library only logs; the program that uses it installs a handler. The command line and the worker processes of a
study call `print_messages`, so that a warning looks the same everywhere: one line, `warning: ...`, in a single
write, so that the lines of several processes do not mix.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress


def write_to_stderr(line: str) -> None:
    """Write a line to the current `sys.stderr`."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class MessageHandler(logging.Handler):
    """Writes each record as one line; notes (INFO) have no prefix."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, if anybody can read it: a message must not end what it is about."""
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        with suppress(Exception):
            self._write(f"{prefix}{record.getMessage()}")


def print_messages(write: Callable[[str], None] = write_to_stderr) -> None:
    """Print the library's warnings and notes, replacing earlier handlers.

    Args:
        write: prints a line.
    """
    logger = logging.getLogger("deepen")
    logger.handlers = [MessageHandler(write)]
    logger.setLevel(logging.INFO)
