"""The sentence of a verdict: what was found, how certain it is, and what cannot be told.

Only at equal exact FLOPs an arm wins or loses. At the mark of a paper, or at equal tokens, the sentence has the
difference and no outcome.
"""

from deepen.compute.accounting import PAPER, TOKENS
from deepen.study.results.verdict_schema import CONFIDENCE, Bound, Interval, Outcome, Verdict

SMALL_HALF_WIDTH = 0.002
"""Below this half width of an interval, in nats, losses are shown with four decimals instead of three."""


_BOUNDS = {
    (Bound.ABOVE, False): "at least",
    (Bound.ABOVE, True): "more than",
    (Bound.BELOW, False): "at most",
    (Bound.BELOW, True): "less than",
}
"""Words for a bound: an end of the interval, or, where that is beyond the budgets, the last of these."""


def describe_verdict(verdict: Verdict, flops_ratio: float) -> str:
    """The sentence of a verdict.

    Args:
        verdict: the verdict; its own sentence is not read.
        flops_ratio: the arm's exact FLOPs ÷ the baseline's.
    """
    assert verdict.difference is not None
    where = _describe_mark(verdict, flops_ratio)
    places = _decimal_places(verdict.interval)
    side = "below" if verdict.difference < 0 else "above"
    size, certainty = f"{abs(verdict.difference):.{places}f}", _certainty(verdict, places)
    loss = f"its loss is {size} nats {side} the baseline ({certainty})"
    if verdict.outcome is None:
        return f"{verdict.arm} {where}: {loss}{_multiplier(verdict)}."
    if verdict.outcome is Outcome.CANNOT_TELL:
        return f"{verdict.arm}: cannot tell {where} whether it pays: {loss}{_excluded(verdict, places)}."
    return f"{verdict.arm} {verdict.outcome} {where}: {loss}{_multiplier(verdict)}."


def percent_text(confidence: float | None) -> str:
    """A confidence as text: 95 %, 97.5 %."""
    return f"{100 * (confidence or CONFIDENCE):.4g} %"


def _describe_mark(verdict: Verdict, flops_ratio: float) -> str:
    if verdict.accounting == PAPER:
        return f"at the paper's own mark ({100 * (flops_ratio - 1):+.1f} % exact FLOPs)"
    if verdict.accounting == TOKENS:
        return f"at equal tokens ({100 * flops_ratio:.0f} % of the exact FLOPs)"
    share = verdict.budget_share
    return "at equal exact FLOPs" + ("" if verdict.is_whole_budget else f" ({share:.2f} times the budget)")


def _decimal_places(interval: Interval | None) -> int:
    return 4 if interval and interval[1] - interval[0] < 2 * SMALL_HALF_WIDTH else 3


def _certainty(verdict: Verdict, places: int) -> str:
    if verdict.interval is None:
        return "one seed gives no interval"
    low, high = verdict.interval
    return f"{percent_text(verdict.confidence)} joint interval {low:+.{places}f} to {high:+.{places}f}"


def _excluded(verdict: Verdict, places: int) -> str:
    """The gains and losses that an interval around zero excludes."""
    if verdict.interval is None:
        return ""
    low, high = verdict.interval
    multipliers = verdict.multiplier_interval
    _, bound = verdict.multiplier_interval_bounds or (None, None)
    times = f" ({multipliers[1]:.2f} times the compute)" if multipliers and bound is None else ""
    gains = f"gains above {-low:.{places}f} nats{times}" if round(low, places) else "any gain"
    losses = f"losses above {high:.{places}f} nats" if round(high, places) else "any loss"
    return f"; this excludes {gains} and {losses}"


def _multiplier(verdict: Verdict) -> str:
    if verdict.multiplier_withheld:
        return f"; no compute multiplier is claimed: {verdict.multiplier_withheld}"
    if verdict.compute_multiplier is None:
        return ""
    reach = "the baseline would reach that loss with"
    percent = percent_text(verdict.confidence)
    if verdict.multiplier_bound is not None:
        low_bound, high_bound = verdict.multiplier_interval_bounds or (None, None)
        end_bound = low_bound if verdict.multiplier_bound is Bound.ABOVE else high_bound
        least = _BOUNDS[verdict.multiplier_bound, end_bound is not None]
        return f"; {reach} {least} {verdict.compute_multiplier:.2f} times the compute ({percent})"
    shown = _interval_text(verdict)
    certainty = f" ({percent}: {shown})" if shown else ""
    return f"; {reach} about {verdict.compute_multiplier:.2f} times the compute{certainty}"


def _interval_text(verdict: Verdict) -> str:
    if verdict.multiplier_interval is None:
        return ""
    words = {Bound.ABOVE: "above ", Bound.BELOW: "below ", None: ""}
    bounds = verdict.multiplier_interval_bounds or (None, None)
    ends = zip(bounds, verdict.multiplier_interval, strict=True)
    return " to ".join(f"{words[bound]}{value:.2f}" for bound, value in ends)
