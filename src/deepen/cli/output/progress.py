"""How far a study is, on standard error."""

import time

from rich.console import Console


class ProgressLine:
    """How much of the compute is done: a line at every tenth, or one that moves on a terminal."""

    def __init__(self, console: Console, name: str) -> None:
        self.console, self.name, self.began, self.tenth = console, name, time.monotonic(), -1
        self.first: int | None = None
        self.last = 0

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *problem: object) -> None:
        if self.console.is_terminal:
            self.console.print()

    @property
    def trained_here(self) -> bool:
        """Whether anything was trained since the beginning."""
        return self.first is not None and self.last > self.first

    def report(self, trained: int, total: int) -> None:
        """Show it."""
        self.last = trained
        if self.first is None:
            self.first = trained
            if trained == total:
                self.console.print(f"{self.name}: all segments are there, nothing to train")
                return
        spent, done = time.monotonic() - self.began, trained - self.first
        left = f", about {spent * (total - trained) / done:.0f} s left" if done and trained < total else ""
        line = f"{self.name}: {100 * trained / total:.0f} % of {total:.3g} FLOPs, {spent:.0f} s{left}"
        if self.console.is_terminal:
            self.console.print(f"\r\x1b[K{line}", end="")
        elif 10 * trained // total > self.tenth:
            self.tenth = 10 * trained // total
            self.console.print(line)
