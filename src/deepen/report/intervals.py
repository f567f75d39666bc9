"""Differences, multipliers and savings as text, with their intervals.

A multiplier that is only a bound is written as one: "at least 1.17", never as an estimate. The ends of intervals
are cut at the budgets at which the baseline was measured: an end beyond them is "above 1.40" or "below 0.70".
"""

from deepen.report.units import UNKNOWN, fixed, percent, signed
from deepen.study.results.schema import Bound, Interval, Verdict

Bounds = tuple[Bound | None, Bound | None]

_LIMITS = {
    (Bound.ABOVE, False): ("at least", "≥"),
    (Bound.ABOVE, True): ("more than", ">"),
    (Bound.BELOW, False): ("at most", "≤"),
    (Bound.BELOW, True): ("less than", "<"),
}
"""Words and signs for bounds; true: the whole interval lies beyond the measured budgets."""

_ENDS = {Bound.ABOVE: "above ", Bound.BELOW: "below ", None: ""}


def confidence_text(confidence: float | None) -> str:
    """A confidence: 95 %, 98.75 %; 95 % where it is unknown, as in files of older versions."""
    return "95 %" if confidence is None else f"{100 * confidence:.4g} %"


def interval_text(interval: Interval | None, places: int) -> str:
    """An interval of differences: −0.041 to −0.020."""
    return f"{signed(interval[0], places)} to {signed(interval[1], places)}" if interval else ""


def factors_text(interval: Interval | None, bounds: Bounds | None) -> str:
    """An interval of multipliers: 0.97 to 1.34, below 0.70 to 1.34, or below 0.70 where both ends are."""
    if interval is None:
        return ""
    low_bound, high_bound = bounds or (None, None)
    low, high = (f"{_ENDS[b]}{fixed(end, 2)}" for b, end in zip((low_bound, high_bound), interval, strict=True))
    return low if low == high and low_bound is not None else f"{low} to {high}"


def multiplier_interval_text(verdict: Verdict) -> str:
    """The interval of a verdict's compute multiplier."""
    return factors_text(verdict.multiplier_interval, verdict.multiplier_interval_bounds)


def seconds_interval_text(verdict: Verdict) -> str:
    """The interval of a verdict's multiplier in seconds."""
    return factors_text(verdict.seconds_multiplier_interval, verdict.multiplier_interval_bounds)


def multiplier_text(verdict: Verdict) -> str:
    """A compute multiplier (1.18×), or a bound on it (≥ 1.17×)."""
    return factor_text(claimed_multiplier(verdict), verdict.multiplier_bound, verdict.multiplier_interval_bounds)


def seconds_multiplier_text(verdict: Verdict) -> str:
    """A multiplier in seconds (1.18×), or a bound on it (≥ 1.17×); empty where seconds were not measured alike."""
    known = verdict.seconds_multiplier
    if known is None:
        return ""
    return factor_text(known, verdict.multiplier_bound, verdict.multiplier_interval_bounds)


def times_text(verdict: Verdict) -> str:
    """A compute multiplier in a sentence: about 1.22 times, or at least 1.17 times."""
    words, _ = find_limit(verdict.multiplier_bound, verdict.multiplier_interval_bounds)
    return f"{words or 'about'} {fixed(claimed_multiplier(verdict), 2)} times"


def times_confidence_text(verdict: Verdict) -> str:
    """What follows `times_text` in brackets: 95 %: 1.02 to 1.77; of a bound, only the confidence."""
    confidence, interval = confidence_text(verdict.confidence), multiplier_interval_text(verdict)
    return confidence if verdict.multiplier_bound is not None or not interval else f"{confidence}: {interval}"


def saving_text(verdict: Verdict) -> str:
    """The compute that an arm saves: 18 % (2 to 44 %), or at least 14 %; empty unless it is known to save any."""
    multiplier, interval = claimed_multiplier(verdict), verdict.multiplier_interval
    if multiplier is None or multiplier <= 1:
        return ""
    saving = percent(1 - 1 / multiplier)
    if verdict.multiplier_bound is Bound.ABOVE:
        return f"at least {saving}"
    if interval is None or min(interval) <= 1:
        return ""
    low, high = (f"{100 * (1 - 1 / end):.0f}" for end in interval)
    is_open = (verdict.multiplier_interval_bounds or (None, None))[1] is Bound.ABOVE
    return f"{saving} (at least {low} %)" if is_open else f"{saving} ({low} to {high} %)"


def claimed_multiplier(verdict: Verdict) -> float | None:
    """The multiplier that is claimed: of one that is only a bound, the near end of its interval.

    Files of older versions have the end of the measured budgets there, which chance may have reached.
    """
    interval = verdict.multiplier_interval
    if interval is None or verdict.multiplier_bound is None:
        return verdict.compute_multiplier
    return interval[0] if verdict.multiplier_bound is Bound.ABOVE else interval[1]


def find_limit(bound: Bound | None, bounds: Bounds | None) -> tuple[str, str]:
    """Word and sign of a multiplier that is only a bound; empty for an estimate.

    Args:
        bound: which bound it is.
        bounds: those of the ends of its interval.
    """
    if bound is None:
        return "", ""
    low, high = bounds or (None, None)
    return _LIMITS[bound, bound is (low if bound is Bound.ABOVE else high)]


def factor_text(value: float | None, bound: Bound | None, bounds: Bounds | None) -> str:
    """A multiplier (1.18×), or a bound on it (≥ 1.17×, > 1.40×); arguments as those of `find_limit`."""
    if value is None:
        return UNKNOWN
    _, sign = find_limit(bound, bounds)
    return f"{sign} {fixed(value, 2)}×" if sign else f"{fixed(value, 2)}×"
