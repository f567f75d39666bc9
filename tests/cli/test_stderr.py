"""Standard error: warnings in one piece, above a status line that they do not tear."""

import io
import logging
import sys

import pytest

from deepen.cli.entry import main
from deepen.cli.output.progress import ProgressLine
from deepen.cli.output.stderr import STDERR


class Terminal(io.StringIO):
    """A terminal that records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)

    def screen(self) -> list[str]:
        """The lines that a person sees."""
        lines = []
        for line in self.getvalue().split("\n"):
            lines.append(line.split("\r\x1b[K")[-1])
        return lines


def test_a_warning_is_one_write_and_stands_above_the_progress(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert main(["--version"]) == 0  # from now on the library's messages are printed
    with ProgressLine("study") as progress:
        progress.report(0, 100)
        progress.report(10, 100)
        logging.getLogger("deepen.train.health").warning("the loss jumped at step %d", 41)
        progress.report(20, 100)
        logging.getLogger("deepen.api").info("precision bf16")
    STDERR.print("error: the end")
    warning = next(text for text in terminal.writes if "warning" in text)
    assert warning.startswith("\r\x1b[Kwarning: the loss jumped at step 41\nstudy: 10 % of 100 FLOPs")
    screen = terminal.screen()
    assert screen[0] == "warning: the loss jumped at step 41" and screen[1] == "precision bf16"
    assert screen[2].startswith("study: 20 % of 100 FLOPs") and screen[3:] == ["error: the end", ""]


def test_without_a_terminal_there_is_a_line_at_every_tenth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with ProgressLine("study") as progress:
        for done in range(0, 101, 2):
            progress.report(done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" of")[0] for line in lines] == [f"study: {share} %" for share in range(0, 101, 10)]
    assert all("\r" not in line and "\x1b" not in line for line in lines)


def test_a_finished_study_is_reported_once(capsys: pytest.CaptureFixture[str]):
    with ProgressLine("study") as progress:
        progress.report(100, 100)
    assert capsys.readouterr().err == "study: all segments are there, nothing to train\n"


def test_nothing_that_only_displays_stops_a_run(monkeypatch: pytest.MonkeyPatch):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    STDERR.print("lost")
    monkeypatch.setattr(sys, "stderr", None)
    STDERR.print("lost, too")
    with ProgressLine("study") as progress:
        progress.report(1, 3)
