"""Compare how fast several trainers take steps of the same size, measured in turns."""

import statistics
from collections.abc import Callable, Mapping

from deepen.bench.result import Pace

TakeSteps = Callable[[int], list[float]]
"""Takes a number of steps and returns the seconds of each."""

TURNS = 5
"""Turns that the steps of each trainer are divided into."""


def divide_steps(steps: int, turns: int) -> list[int]:
    """Divide a number of steps into turns that differ by at most one step."""
    return [(turn + 1) * steps // turns - turn * steps // turns for turn in range(turns)]


def measure_paces(trainers: Mapping[str, TakeSteps], batch_tokens: int, steps: int) -> list[Pace]:
    """Measure the pace of each trainer, in turns, so that a machine that slows down slows all of them alike.

    Args:
        trainers: ready trainers by name; ratios are relative to the first.
        batch_tokens: tokens of a step.
        steps: number of measured steps for each, in TURNS turns. The first step of a turn is not measured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for counted in divide_steps(steps, TURNS):
        for name, take_steps in trainers.items():
            if counted:
                seconds[name] += take_steps(1 + counted)[1:]
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    first = next(iter(medians.values()))
    return [
        Pace(
            name=name,
            tokens_per_second=batch_tokens / medians[name],
            fastest_tokens_per_second=batch_tokens / min(taken),
            ratio=medians[name] / first,
        )
        for name, taken in seconds.items()
    ]
