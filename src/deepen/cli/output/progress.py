"""How far a command is, on standard error.

    with show_progress("quickstart") as on_progress:
        deepen.run(study, folder, on_progress=on_progress)

On a terminal a few lines at its bottom are kept up to date; elsewhere a line is printed every minute.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deepen.cli.output.live_lines import LiveLines
from deepen.cli.output.progress_status import ProgressStatus, shorten_arms
from deepen.cli.output.stderr import STDERR
from deepen.study.run.progress import OnProgress, Preparation, SegmentProgress, StudyProgress

LINE_SECONDS = 60.0
"""Time between two lines where there is no terminal."""

QUIET_SECONDS = 5.0
"""Time without a line at the beginning, so that a command that fails at once prints nothing but its error."""

MAX_SEGMENTS = 4
"""The most running segments that such a line describes."""


@contextmanager
def show_progress(name: str) -> Iterator[OnProgress]:
    """Show the progress that is reported to the yielded function, until the `with` block ends.

    Args:
        name: the name of what is running.
    """
    if STDERR.can_move_cursor:
        with LiveLines(name) as lines, STDERR.printing_above(lines.print_above):
            yield lines.update
    else:
        lines_in_log = PlainLines(name)
        try:
            yield lines_in_log.update
        finally:
            lines_in_log.end()


class PlainLines:
    """Prints a line at the beginning of training, one a minute, and one at the end.

    Args:
        name: the name of what is running.
        clock: the time in seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._status, self._trains = ProgressStatus(name, clock), False
        self._printed, self._print_at = "", QUIET_SECONDS

    def update(self, progress: StudyProgress | Preparation) -> None:
        """Take progress over, and print it when it is time."""
        self._status.update(progress)
        begins_training = isinstance(progress, StudyProgress) and not self._trains
        self._trains = self._trains or begins_training
        if begins_training or self._status.seconds >= self._print_at:
            self._print()

    def end(self) -> None:
        """Print how far training is, if there was any."""
        self._status.end()
        if self._status.latest is not None:
            self._print()

    def _print(self) -> None:
        line = _describe(self._status)
        if line != self._printed:
            STDERR.print(line)
        self._printed, self._print_at = line, self._status.seconds + LINE_SECONDS


def _describe(status: ProgressStatus) -> str:
    """Progress in one line."""
    words = ", ".join(part for part in (status.share, status.detail, status.time) if part)
    running = status.running
    segments = [_describe_segment(segment) for segment in running[:MAX_SEGMENTS]]
    if len(running) > MAX_SEGMENTS:
        segments.append(f"{len(running) - MAX_SEGMENTS} more")
    return "; ".join([f"{status.name}: {words}", *segments])


def _describe_segment(segment: SegmentProgress) -> str:
    loss = "" if segment.loss is None else f", loss {segment.loss:.4f}"
    return f"{shorten_arms(segment.arms)}, seed {segment.seed}, step {segment.step:,} of {segment.steps:,}{loss}"
