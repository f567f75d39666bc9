"""Compare how fast several trainers take steps of the same size, measured in turns."""

import statistics
from collections.abc import Callable, Mapping
from functools import partial

from deepen.bench.attempts import Attempts, explain_any_error
from deepen.bench.result import Pace, Race

TakeSteps = Callable[[int, int], float]
"""Takes a number of steps that are not measured and a number that are; returns the mean seconds of the latter."""

TURNS = 5
"""Turns that the steps of each trainer are divided into."""


def divide_steps(steps: int, turns: int) -> list[int]:
    """Divide a number of steps into turns that differ by at most one step."""
    return [(turn + 1) * steps // turns - turn * steps // turns for turn in range(turns)]


def measure_paces(
    builders: Mapping[str, Callable[[], TakeSteps]], batch_tokens: int, steps: int, warm_up: int = 1
) -> Race:
    """Measure the pace of each trainer, in turns, so that a machine that slows down slows all of them alike.

    A trainer that fails takes no further turn; the others go on.

    Args:
        builders: by name, functions that make a trainer ready; ratios are relative to the first.
        batch_tokens: tokens of a step.
        steps: number of measured steps for each, in TURNS turns.
        warm_up: steps at the beginning of each turn that are not measured.
    """
    trainers: dict[str, TakeSteps] = {}
    seconds: dict[str, list[float]] = {name: [] for name in builders}
    attempts = Attempts(explain_any_error)
    for name, build in builders.items():
        with attempts.attempt(name):
            trainers[name] = build()
    for counted in filter(None, divide_steps(steps, TURNS)):
        for name in list(trainers):
            with attempts.attempt(name, discard=partial(trainers.pop, name)):
                seconds[name].append(trainers[name](warm_up, counted))
    first, failures = next(iter(builders)), attempts.failures
    if first in failures:
        return Race(failures=failures)
    medians = {name: statistics.median(seconds[name]) for name in trainers}
    paces = [
        Pace(
            name=name,
            tokens_per_second=batch_tokens / medians[name],
            fastest_tokens_per_second=batch_tokens / min(seconds[name]),
            ratio=medians[name] / medians[first],
        )
        for name in trainers
    ]
    return Race(paces=paces, failures=failures)
