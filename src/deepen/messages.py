"""Warnings and notes of the library, printed on stderr.

The library logs; the program that uses it decides what becomes of that. The command line and the worker processes
of a study call `print_messages`, so that a warning looks the same everywhere: one line, `warning: ...`,
written at once, so that lines of several processes do not mix.
"""

import logging
import sys


class MessageHandler(logging.Handler):
    """Prints each record as one line on whatever `sys.stderr` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; notes (INFO) have no prefix."""
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        try:
            sys.stderr.write(f"{prefix}{record.getMessage()}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def print_messages(handler: logging.Handler | None = None) -> None:
    """Print the library's warnings and notes, in place of what printed them before.

    Args:
        handler: another way to print them.
    """
    logger = logging.getLogger("deepen")
    logger.handlers = [handler or MessageHandler()]
    logger.setLevel(logging.INFO)
