"""How far a command is, on standard error."""

import time

from deepen.cli.output.stderr import STDERR


class ProgressLine:
    """How much of the compute is done: a status line on a terminal, else a line at every tenth."""

    def __init__(self, name: str) -> None:
        self._name, self._began, self._printed_tenth = name, time.monotonic(), -1
        self._first: int | None = None

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *problem: object) -> None:
        STDERR.leave_status()

    def report(self, done: int, total: int) -> None:
        """Show that `done` of `total` FLOPs are done, those of earlier runs included."""
        if self._first is None:
            self._first = done
            if done == total:
                STDERR.print(f"{self._name}: all segments are there, nothing to train")
                return
        seconds, done_here = time.monotonic() - self._began, done - self._first
        left = f", about {seconds * (total - done) / done_here:.0f} s left" if done_here and done < total else ""
        line = f"{self._name}: {100 * done / total:.0f} % of {total:.3g} FLOPs, {seconds:.0f} s{left}"
        if STDERR.is_terminal:
            STDERR.show_status(line)
        elif 10 * done // total > self._printed_tenth:
            self._printed_tenth = 10 * done // total
            STDERR.print(line)
