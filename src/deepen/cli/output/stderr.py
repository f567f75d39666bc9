"""Standard error, which a command shares with the lines of its progress.

Everything that the command line prints on stderr goes through `STDERR`. What comes while progress is shown stands
above it:

    warning: the loss jumped at step 41 ...
    quickstart ━━━━━━━━━━━━━━━━━━━━━━━━━━━━   12 %   2 of 20 runs   about 4 min left

Nothing here raises an error: whether anybody can read the output must not decide whether a run continues.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class StandardError(io.TextIOBase):
    """A text file that writes to what `sys.stderr` is at the moment."""

    def __init__(self) -> None:
        self._print_above: Callable[[str], object] | None = None

    def print(self, text: str) -> None:
        """Print text, each line whole, above the lines of progress."""
        with suppress(Exception):
            if self._print_above is not None:
                self._print_above(text)
            else:
                self.write(f"{text}\n")  # at once, so that lines of several processes do not mix
                self.flush()

    @contextmanager
    def printing_above(self, print_above: Callable[[str], object]) -> Iterator[None]:
        """A `with` block in which `print` calls a function that prints text above the lines of progress."""
        self._print_above = print_above
        try:
            yield
        finally:
            self._print_above = None

    @property
    def can_move_cursor(self) -> bool:
        """Whether it is a terminal on which lines can be written over."""
        return self.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        with suppress(Exception):
            return bool(self._file.isatty())
        return False

    def write(self, text: str) -> int:
        """Write text, if anybody can read it."""
        with suppress(Exception):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        with suppress(Exception):
            self._file.flush()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the text."""
        return getattr(self._file, "encoding", None) or "utf-8"

    @property
    def _file(self) -> Any:
        """`sys.stderr`; while rich shows progress, the file that it has replaced there."""
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)


STDERR = StandardError()
"""The process's own."""
