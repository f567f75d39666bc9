"""The seconds of a training step, measured by a study itself, per kind of step.

Steps are of one *kind* if they train the same parts of a model of the same depth with the same batch and context,
whichever arm and seed they belong to. The time of a kind is the median over all its steps in the study, so neither
a busy machine nor an interruption moves it, unless it lasted for half of them. A run's *steady seconds* are its
steps, each at the time of its kind:

    kind                       steps in the study    median    steps of one-shot    steady seconds
    6 blocks, all trained      400                   0.05 s    200                  10
    12 blocks, all trained     900                   0.09 s    300                  27
                                                                                    37

The first step of a segment also pays for compiling and for allocating memory, so it only counts where a kind has
no other. Growing, evaluating and saving are not training, and are in no step.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median, quantiles
from typing import NamedTuple

from deepen.schedule.trainable import TrainedParts
from deepen.study.store.log_lines import Line
from deepen.train.segment import Segment

MIN_STEPS = 20
"""The number of steps from which on their quartiles say something."""


class StepKind(NamedTuple):
    """What the time of a step depends on, apart from the device."""

    trains: TrainedParts
    batch_tokens: int
    context: int


class TimedSegment(NamedTuple):
    """A segment, the seconds of each of its steps in order, and the device that trained it."""

    segment: Segment
    step_seconds: Sequence[float]
    device: str


class StepTimes:
    """The time of each kind of step in a study.

    Args:
        timed: the segments that are trained.

    Attributes:
        device: the device that trained all of them; empty if they were trained on several, or it is unknown.
        spread: the upper quartile of the times of a kind ÷ the lower, of the kind where it is largest: about 1 on
            a quiet machine. None if no kind has enough steps.
    """

    def __init__(self, timed: Iterable[TimedSegment]) -> None:
        first: dict[StepKind, list[float]] = defaultdict(list)
        later: dict[StepKind, list[float]] = defaultdict(list)
        devices = set()
        for segment, step_seconds, device in timed:
            first[_kind(segment)] += step_seconds[:1]
            later[_kind(segment)] += step_seconds[1:]
            devices.add(device)
        self.device = min(devices) if len(devices) == 1 else ""
        ratios = [high / low for low, _, high in map(_quartiles, later.values()) if low > 0]
        self.spread = max(ratios, default=None) if self.device else None
        self._medians = {kind: median(later[kind] or first[kind]) for kind in first if first[kind]}

    def steady_seconds(self, segments: Iterable[Segment]) -> float | None:
        """The seconds of a run through these segments; None if it is not known on which device they were taken."""
        if not self.device:
            return None
        total = 0.0
        for segment in segments:
            if _kind(segment) not in self._medians:
                return None
            total += segment.steps * self._medians[_kind(segment)]
        return total


def step_seconds(lines: Sequence[Line], seconds_before: float | None) -> list[float]:
    """The seconds of each step of a segment.

    Args:
        lines: lines of its metrics.jsonl, whose `seconds` count from the beginning of the run.
        seconds_before: those at the segment's start; None for the first segment of a run.
    """
    ends = [seconds_before or 0.0, *(line["seconds"] for line in lines)]
    return [after - before for before, after in pairwise(ends)]


def _quartiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Quartiles of step times; zeros if there are too few."""
    if len(seconds) < MIN_STEPS:
        return 0.0, 0.0, 0.0
    low, middle, high = quantiles(seconds, n=4)
    return low, middle, high


def _kind(segment: Segment) -> StepKind:
    return StepKind(segment.trains, segment.batch_tokens, segment.context)
