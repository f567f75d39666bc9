"""Standard error: nothing that only displays can stop a run."""

import io
import logging
import sys

import pytest

from deepen.cli.entry import main
from deepen.cli.output.progress import show_progress
from deepen.cli.output.stderr import STDERR
from deepen.study.run.progress import Preparation, StudyProgress


class Terminal(io.StringIO):
    """A terminal that nobody can read any more, if `error` is given."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        super().__init__()
        self._error = error

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._error is not None:
            raise self._error
        return super().write(text)


@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError, UnicodeError, RuntimeError])
def test_nothing_that_only_displays_stops_a_run(error: type[Exception], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal(error))
    assert main(["--version"]) == 0  # from now on the library's messages are printed
    STDERR.print("lost")
    with show_progress("study") as on_progress:
        assert STDERR.can_move_cursor
        on_progress(Preparation("tokenizing", 0.5))
        on_progress(StudyProgress(flops=1, flops_total=3, runs_done=0, runs_total=1))
        logging.getLogger("deepen.train").warning("lost, too")
        print("lost, too", file=sys.stderr)


def test_a_process_without_stderr_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", None)
    STDERR.print("lost")
    with show_progress("study") as on_progress:
        on_progress(StudyProgress(flops=1, flops_total=3, runs_done=0, runs_total=1))


def test_a_warning_is_written_at_once(monkeypatch: pytest.MonkeyPatch):
    writes: list[str] = []
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "write", writes.append)
    assert main(["--version"]) == 0
    logging.getLogger("deepen.train").warning("the loss jumped at step %d", 41)
    assert writes == ["warning: the loss jumped at step 41\n"]
