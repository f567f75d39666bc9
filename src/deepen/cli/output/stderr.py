"""Standard error: whole lines, and below them at most one status line that is written over.

Everything that the command line prints on stderr goes through `STDERR`, so that a warning that comes while
progress is shown stands above the status line and does not tear it:

    warning: the loss jumped at step 41 ...
    quickstart: 12 % of 3.1e+12 FLOPs, 8 s, about 60 s left
"""

import sys
from threading import RLock

_CLEAR_LINE = "\r\x1b[K"


class StandardError:
    """Whatever `sys.stderr` is at the moment, with a status line where it is a terminal."""

    def __init__(self) -> None:
        self._status = ""
        self._lock = RLock()  # the saver's thread warns too; a signal's handler may print while a line is printed

    @property
    def is_terminal(self) -> bool:
        """Whether a line can be written over."""
        return sys.stderr is not None and sys.stderr.isatty()

    def print(self, text: str) -> None:
        """Print text, each line whole, above the status line."""
        with self._lock:
            clear = _CLEAR_LINE if self._status else ""
            self._write(f"{clear}{text}\n{self._status}")

    def show_status(self, status: str) -> None:
        """Show a status line in place of the one before; empty removes it."""
        with self._lock:
            self._write(f"{_CLEAR_LINE}{status}" if self._status else status)
            self._status = status

    def leave_status(self) -> None:
        """Let the status line stay where it is; what is printed next comes below."""
        with self._lock:
            if self._status:
                self._write("\n")
            self._status = ""

    @staticmethod
    def _write(text: str) -> None:
        try:
            sys.stderr.write(text)  # at once, so that lines of several processes do not mix
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            pass  # nobody reads it: what only displays must not stop a run


STDERR = StandardError()
"""The process's own."""
