"""The latest progress of a command, in short words."""

import time
from collections.abc import Callable, Sequence

from deepen.cli.output.time_left import TimeLeft
from deepen.report.units import duration
from deepen.study.run.progress import Preparation, SegmentProgress, StudyProgress


class ProgressStatus:
    """The latest progress that was reported.

    Args:
        name: the name of what is running.
        clock: the time in seconds.

    Attributes:
        latest: the latest progress; None before the first report.
        is_over: whether the command has ended.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self._clock, self._began, self._left = name, clock, clock(), TimeLeft()
        self.latest: StudyProgress | Preparation | None = None
        self._first_training: StudyProgress | None = None
        self._last_training: StudyProgress | None = None
        self.is_over = False

    def update(self, progress: StudyProgress | Preparation) -> None:
        """Take over progress that was reported."""
        if _work(progress) != _work(self.latest):
            self._left = TimeLeft()
        if progress.share is not None:
            self._left.add(self._clock(), progress.share)
        if isinstance(progress, StudyProgress):
            if self._first_training is None:
                self._first_training = progress
            self._last_training = progress
        self.latest = progress

    def end(self) -> None:
        """The command ends: show how far training is, not what came before or after it."""
        self.latest, self.is_over = self._last_training, True

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return self._clock() - self._began

    @property
    def running(self) -> Sequence[SegmentProgress]:
        """The segments that workers have."""
        return self.latest.running if isinstance(self.latest, StudyProgress) else ()

    @property
    def share(self) -> str:
        """The share that is done, rounded down; empty if it is unknown."""
        share = None if self.latest is None else self.latest.share
        return "" if share is None else f"{int(100 * share)} %"

    @property
    def detail(self) -> str:
        """What is prepared, or how many runs are done."""
        if isinstance(self.latest, Preparation):
            return self.latest.detail or self.latest.what
        if self.latest is None:
            return ""
        if self._trains_nothing:
            return "all segments are there, nothing to train"
        return f"{self.latest.runs_done} of {self.latest.runs_total} runs" if self.latest.runs_total > 1 else ""

    @property
    def time(self) -> str:
        """The time that is left; while it is unknown, and at the end, the time since the command began."""
        if self._trains_nothing:
            return ""
        left = None if self.is_over else self._left.seconds
        if left is not None:
            return f"about {_rounded(left)} left"
        return f"{self.seconds:.0f} s" if self.seconds < 90 else duration(self.seconds)

    @property
    def _trains_nothing(self) -> bool:
        return self._first_training is not None and self._first_training.share == 1


def shorten_arms(arms: Sequence[str]) -> str:
    """The first arm of a segment, and the number of the others: full +3."""
    return arms[0] if len(arms) == 1 else f"{arms[0]} +{len(arms) - 1}"


def _work(progress: StudyProgress | Preparation | None) -> str | None:
    """What is being done, so that its speed says nothing about other work."""
    return progress.what if isinstance(progress, Preparation) else "training" if progress else None


def _rounded(seconds: float) -> str:
    """A time with the precision of an estimate: 45 s, 12 min, 2 h 10 min, 3.5 days."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(10 * round(minutes / 10), 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{seconds / 86400:.1f} days"
