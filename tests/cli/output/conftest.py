import io
import sys
from collections.abc import Callable

import pyte
import pytest

ROWS = 200


class Terminal(io.StringIO):
    """A terminal with so many columns; everything that is printed on it stays on its screen."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns = columns

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What its screen shows."""
        screen = pyte.Screen(self._columns, ROWS)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        assert screen.cursor.y < ROWS - 1
        return [line.rstrip() for line in screen.display[: screen.cursor.y]]


@pytest.fixture
def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Terminal]:
    """Makes standard output a terminal with so many columns."""

    def open_terminal(columns: int) -> Terminal:
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal(columns)
        monkeypatch.setattr(sys, "stdout", terminal)
        return terminal

    return open_terminal
