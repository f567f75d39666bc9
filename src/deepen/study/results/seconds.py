"""Measured seconds beside exact FLOPs: what the same comparison gives if compute is priced by the clock.

A multiplier in FLOPs says how many times an arm's FLOPs the baseline would need. It becomes one in seconds by the
time that each of the two spends per FLOP:

                   FLOPs     steady seconds    seconds per PFLOP
    arm            1.0e15    240               240
    baseline       1.0e15    200               200                 factor 200 / 240 = 0.83

With a multiplier of 1.20 in FLOPs, the baseline would need 1.20 · 0.83 = 1.00 times the arm's seconds: the arm
saves FLOPs, but no time. `step_times` explains how the steady seconds of a run are measured.
"""

from collections.abc import Iterable

from deepen.study.results.schema import MarkResult


def seconds_factor(arm: Iterable[MarkResult], baseline: Iterable[MarkResult]) -> float | None:
    """The number by which a compute multiplier in FLOPs becomes one in measured seconds.

    Args:
        arm, baseline: the marks of the arm and of the baseline that are compared, one per seed.

    Returns:
        Seconds per FLOP of the baseline ÷ seconds per FLOP of the arm, so above 1 the arm's FLOPs are the faster
        ones; None if the steady seconds of a mark are unknown.
    """
    of_arm, of_baseline = _seconds_per_flop(arm), _seconds_per_flop(baseline)
    return None if of_arm is None or of_baseline is None else of_baseline / of_arm


def _seconds_per_flop(marks: Iterable[MarkResult]) -> float | None:
    """The steady seconds of all marks ÷ their FLOPs; None if any of them is unknown."""
    seconds, flops = 0.0, 0.0
    for mark in marks:
        if mark.steady_seconds is None:
            return None
        seconds, flops = seconds + mark.steady_seconds, flops + mark.flops
    return seconds / flops if seconds > 0 and flops > 0 else None
