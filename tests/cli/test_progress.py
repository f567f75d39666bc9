"""Progress on a terminal, as the screen shows it, and in a log."""

import logging
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyte
import pytest

from deepen.cli.entry import main
from deepen.cli.output.progress import PlainLines, show_progress
from deepen.cli.output.stderr import STDERR
from deepen.data.shards import Dataset
from deepen.study.run.progress import Preparation, SegmentProgress, StudyProgress

LINES = 24


class Screen:
    """A pseudo-terminal, whose screen `pyte` computes from what is written to it."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._screen = pyte.Screen(columns, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._shell, self.terminal = pty.openpty()
        termios.tcsetwinsize(self.terminal, (LINES, columns))

    @property
    def lines(self) -> list[str]:
        """The lines of the screen now, without the empty ones at its end."""
        while select.select([self._shell], [], [], 0)[0] and self._read():
            pass
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().splitlines()

    def until(self, condition: Callable[[list[str]], Any]) -> list[str]:
        """Read until the lines of the screen satisfy a condition, and return them."""
        while not condition(lines := self.lines):
            assert self._read(), lines
        return lines

    def until_closed(self) -> list[str]:
        """Read until no process has the terminal open any more, and return the lines of the screen."""
        while self._read():
            pass
        return self.lines

    def _read(self) -> bool:
        """Wait for output and read it; false if no process has the terminal open any more."""
        try:
            self._stream.feed(os.read(self._shell, 65536))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close both ends."""
        self.leave()
        os.close(self._shell)

    def leave(self) -> None:
        """Close this process's end of the terminal, so that it ends with the other processes that have it."""
        if self.terminal >= 0:
            os.close(self.terminal)
        self.terminal = -1


@pytest.fixture(params=[80, 100, 140])
def screen(request: pytest.FixtureRequest) -> Iterator[Screen]:
    screen = Screen(request.param)
    yield screen
    screen.close()


@contextmanager
def stderr_on(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process's standard error is a terminal, in a `with` block."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with open(os.dup(screen.terminal), "w") as file:  # noqa: PTH123
        saved = os.dup(0)
        os.dup2(screen.terminal, 0)  # where rich looks for the size first
        try:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stderr", file)
                yield
        finally:
            os.dup2(saved, 0)
            os.close(saved)


def segment(arms: tuple[str, ...] = ("full",), **values: Any) -> SegmentProgress:
    given = {"seed": 0, "depth": 12, "label": "", "step": 1200, "steps": 10_000, "loss": 3.25, **values}
    return SegmentProgress(key="k", arms=arms, **given)


def study(share: int, *running: SegmentProgress) -> StudyProgress:
    return StudyProgress(flops=share, flops_total=100, runs_done=2, runs_total=20, running=running)


def test_a_line_for_the_study_and_one_for_each_segment(screen: Screen, monkeypatch: pytest.MonkeyPatch):
    with stderr_on(screen, monkeypatch), show_progress("quickstart") as on_progress:
        on_progress(
            study(
                37,
                segment(("full", "small", "one-shot", "staged S=4"), tokens_per_second=12345.6),
                segment(("two-phase S=12",), seed=2, depth=3, step=0, loss=None),
                segment(("small",), seed=1, is_evaluating=True),
            )
        )
        lines = screen.until(lambda lines: len(lines) == 5)
    assert lines[0].startswith("quickstart  ━") and " 37 %  2 of 20 runs  " in lines[0]
    assert [line.split() for line in lines[1:]] == [
        ["arm", "seed", "depth", "step", "loss", "tokens/s"],
        ["full", "+3", "0", "12", "1,200", "of", "10,000", "3.2500", "12,346"],
        ["two-phase", "S=12", "2", "3", "0", "of", "10,000", "-", "starting"],
        ["small", "1", "12", "1,200", "of", "10,000", "3.2500", "evaluating"],
    ]


def test_a_long_name_is_shortened_before_the_numbers(screen: Screen, monkeypatch: pytest.MonkeyPatch):
    long = "a recipe with every option of the paper and " * 4
    with stderr_on(screen, monkeypatch), show_progress(long) as on_progress:
        on_progress(study(37, segment((long, "full"), step=123_456, steps=1_000_000, tokens_per_second=1_234_567)))
        lines = screen.until(lambda lines: len(lines) == 3)
    assert lines[0].startswith("a recipe with") and "…  ━━━━" in lines[0] and " 37 %  2 of 20 runs  " in lines[0]
    assert lines[2].startswith("  a recipe with ") and "…" in lines[2]
    assert lines[2].split()[-6:] == ["12", "123,456", "of", "1,000,000", "3.2500", "1,234,567"]


def test_more_segments_than_lines(screen: Screen, monkeypatch: pytest.MonkeyPatch):
    with stderr_on(screen, monkeypatch), show_progress("quickstart") as on_progress:
        on_progress(study(37, *(segment((f"arm {index}",)) for index in range(64))))
        lines = screen.until(lambda lines: len(lines) > 3)
        shown = [line for line in lines if line.startswith("  arm ") and "1,200" in line]
        assert lines[0].startswith("quickstart") and lines[-1] == f"  and {64 - len(shown)} more" and shown


def test_what_is_printed_stands_above(screen: Screen, monkeypatch: pytest.MonkeyPatch):
    sentence = "the loss jumped at step 41, by more than it should have. " * 4
    with stderr_on(screen, monkeypatch):
        assert main(["--version"]) == 0  # from now on the library's messages are printed
        with show_progress("quickstart") as on_progress:
            on_progress(study(10, segment()))
            screen.until(lambda lines: len(lines) == 3)
            logging.getLogger("deepen.train").warning(sentence)
            print("from another [library]", file=sys.stderr)
            on_progress(study(20, segment()))
            lines = screen.until(lambda lines: any(" 20 %" in line for line in lines))
        STDERR.print("error: the end")
    *printed, library, command, header, running = lines
    assert "".join(printed) == f"warning: {sentence}".rstrip() and library == "from another [library]"
    assert command.startswith("quickstart") and header.startswith("  arm") and running.startswith("  full")
    assert screen.lines[:-2] == [*printed, library] and screen.lines[-1] == "error: the end"
    assert screen.lines[-2].startswith("quickstart  ━") and " 20 %  2 of 20 runs" in screen.lines[-2]


def test_preparation_is_shown_and_the_last_line_is_that_of_training(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
):
    with stderr_on(screen, monkeypatch), show_progress("quickstart") as on_progress:
        on_progress(Preparation("tokenizing sotu", 0.451))
        screen.until(lambda lines: lines and " 45 %  tokenizing sotu  " in lines[0])
        on_progress(Preparation(f"checking {'/a/long/path' * 20}", 0.999))
        lines = screen.until(lambda lines: " 99 %  checking /a/long/path" in lines[0])
        assert len(lines) == 1 and re.search(r"…  \d s$", lines[0]) and "━━" in lines[0]
        on_progress(study(99))
        on_progress(Preparation("writing the results"))
        screen.until(lambda lines: "writing the results" in lines[0])
    [line] = screen.lines
    assert " 99 %  2 of 20 runs  " in line and line.endswith(" s")


def test_an_ascii_terminal_receives_ascii(capfdbinary: pytest.CaptureFixture[bytes]):
    """The lines keep their width, so that they are written over correctly."""
    code = (
        "from deepen.cli.output.live_lines import LiveLines\n"
        "from deepen.study.run.progress import StudyProgress, SegmentProgress\n"
        "running = SegmentProgress(key='k', arms=('ä' * 300,), seed=0, depth=1, label='', step=0, steps=9)\n"
        "with LiveLines('ä' * 300) as lines:\n"
        "    lines.update(StudyProgress(flops=1, flops_total=9, runs_done=0, runs_total=1, running=(running,)))\n"
        "    lines._live.refresh()\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "xterm", "COLUMNS": "80", "FORCE_COLOR": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    screen = pyte.Screen(80, LINES)
    pyte.ByteStream(screen).feed(capfdbinary.readouterr().err.replace(b"\n", b"\r\n"))
    command, *rest = (line.rstrip() for line in screen.display)
    assert command.startswith("\\xe4") and "--" in command and command.endswith(" s") and not any(rest)


def test_without_a_terminal_there_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]):
    now = 0.0
    lines = PlainLines("quickstart", clock=lambda: now)
    lines.update(Preparation("checking"))
    for now in range(10, 20):
        lines.update(Preparation("tokenizing sotu", now / 20))
    for now in range(20, 221):
        lines.update(study(now // 10, segment(("full", "small"), step=now)))
    lines.update(Preparation("writing the results"))
    lines.end()
    done = "2 of 20 runs"
    assert capsys.readouterr().err.splitlines() == [
        "quickstart: 50 %, tokenizing sotu, 10 s",
        f"quickstart: 2 %, {done}, 20 s; full +1, seed 0, step 20 of 10,000, loss 3.2500",
        f"quickstart: 8 %, {done}, about 15 min left; full +1, seed 0, step 80 of 10,000, loss 3.2500",
        f"quickstart: 14 %, {done}, about 14 min left; full +1, seed 0, step 140 of 10,000, loss 3.2500",
        f"quickstart: 20 %, {done}, about 13 min left; full +1, seed 0, step 200 of 10,000, loss 3.2500",
        f"quickstart: 22 %, {done}, 3 min 40 s; full +1, seed 0, step 220 of 10,000, loss 3.2500",
    ]


def test_a_command_that_fails_before_training_leaves_nothing_but_its_error(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with stderr_on(screen, monkeypatch):
        with show_progress("quickstart") as on_progress:
            on_progress(Preparation("checking"))
            screen.until(lambda lines: "checking" in "".join(lines))
        STDERR.print("error: wrong")
    assert screen.lines == ["error: wrong"]
    with show_progress("quickstart") as on_progress:
        on_progress(Preparation("checking"))
    assert capsys.readouterr().err == ""


def test_a_study_that_is_trained_already(capsys: pytest.CaptureFixture[str]):
    with show_progress("quickstart") as on_progress:
        on_progress(study(100))
        on_progress(study(100))
    assert capsys.readouterr().err == "quickstart: 100 %, all segments are there, nothing to train\n"


def train_on(screen: Screen, data: Dataset, out: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a training of a few seconds with this terminal, so that progress is reported during it."""
    command = [
        *(sys.executable, "-m", "deepen", "train", "full", "--model", "nano", "--tokens", "200k"),
        *("--data", str(data.folder), "--out", str(out)),
    ]
    environment = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    process = subprocess.Popen(
        command, stdin=screen.terminal, stdout=subprocess.PIPE, stderr=screen.terminal, env=environment, **options
    )
    screen.leave()
    return process


@pytest.mark.slow
def test_a_training_run_on_a_terminal(dataset: Dataset, tmp_path: Path):
    screen = Screen(80)
    process = train_on(screen, dataset, tmp_path / "run")
    screen.until(lambda lines: any(line.startswith("  full ") for line in lines))
    *_, last = screen.until_closed()
    assert process.wait() == 0 and process.stdout is not None and process.stdout.read()
    assert last.startswith("train full  ━") and "  100 %  " in last
    screen.close()


@pytest.mark.slow
def test_a_terminal_that_closes_does_not_end_training(dataset: Dataset, tmp_path: Path):
    """Under nohup, which ignores SIGHUP: every write to the terminal fails from then on."""
    screen = Screen(80)
    process = train_on(
        screen, dataset, tmp_path / "run", preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    )
    screen.until(lambda lines: any(line.startswith("  full ") for line in lines))
    screen.close()
    assert process.wait() == 0 and (tmp_path / "run" / "results.json").exists()
