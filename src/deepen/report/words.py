"""The finding of a study in sentences, for the top of the page. Its limits are described in `caveats`."""

from collections.abc import Sequence
from dataclasses import dataclass

from deepen.compute.accounting import PAPER
from deepen.report.caveats import list_caveats
from deepen.report.introduction import describe_single_arm
from deepen.report.summary import StudySummary
from deepen.report.units import (
    all_of,
    decimal_places,
    done_percent,
    fixed,
    in_words,
    join,
    none_of,
    percent,
    plural,
    signed,
)
from deepen.study.results.schema import Bound, Interval, Outcome, Verdict

MAX_NAMED_ARMS = 3
"""Maximum number of arms that a sentence names with their numbers; the table has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding in one line, in loss, in compute, and its caveats.

    Attributes:
        headline: the finding in one line.
        progress: how far an unfinished study is; empty if it is finished.
        found: the differences in loss.
        limits: what the differences do not show.
        compute: the differences in compute.
        caveats: how far to trust them.
    """

    headline: str
    progress: str
    found: str
    limits: tuple[str, ...]
    compute: str
    caveats: tuple[str, ...]


def describe_finding(study: StudySummary) -> Finding:
    """Describe the finding of a study, its progress if there is none yet, or where its only arm ended."""
    if study.is_single_arm:
        headline, where = describe_single_arm(study)
        return Finding(
            headline=headline,
            progress=_describe_trained_share(study),
            found=where,
            limits=(),
            compute="",
            caveats=(),
        )
    exact = [v for v in study.verdicts if v.is_exact and v.is_whole_budget and v.difference is not None]
    return Finding(
        headline=_headline(exact),
        progress=_describe_trained_share(study),
        found=" ".join(_found(study, exact)),
        limits=tuple(_limits(study, exact)),
        compute=" ".join(_compute(study, exact)),
        caveats=list_caveats(study, exact),
    )


def interval_text(interval: Interval | None, places: int) -> str:
    """An interval of differences: −0.041 to −0.020."""
    return f"{signed(interval[0], places)} to {signed(interval[1], places)}" if interval else ""


def multiplier_interval_text(verdict: Verdict) -> str:
    """An interval of multipliers; ends that are only bounds are marked: below 0.70 to 1.34."""
    if verdict.multiplier_interval is None:
        return ""
    words = {Bound.ABOVE: "above ", Bound.BELOW: "below ", None: ""}
    bounds = verdict.multiplier_interval_bounds or (None, None)
    ends = zip(bounds, verdict.multiplier_interval, strict=True)
    return " to ".join(f"{words[bound]}{fixed(value, 2)}" for bound, value in ends)


def exact_flops_ratio(study: StudySummary, verdict: Verdict) -> float | None:
    """The exact FLOPs of an arm at the mark of a verdict ÷ the baseline's."""
    arm, base = study.find_arm(verdict.arm), study.baseline_mark
    marks = arm.marks if arm else ()
    mark = next((m for m in marks if m.accounting == verdict.accounting and m.is_whole_budget), None)
    return mark.flops / base.flops if mark and base and base.flops else None


def _headline(exact: Sequence[Verdict]) -> str:
    if not exact:
        return "There is no finding yet: no arm has been compared with full training at equal compute."
    if len(exact) == 1:
        claim = {
            Outcome.WINS: "beats",
            Outcome.LOSES: "does worse than",
            Outcome.CANNOT_TELL: "cannot be told apart from",
        }[exact[0].outcome]
        return f"At equal compute, {exact[0].arm} {claim} full training."
    wins, loses, unknown = (len(_with_outcome(exact, outcome)) for outcome in Outcome)
    total = in_words(len(exact))
    if wins == len(exact):
        return f"At equal compute, {all_of(len(exact), 'arm')} beat full training."
    if loses == len(exact):
        return f"At equal compute, {none_of(len(exact), 'arm')} keeps up with full training."
    if unknown == len(exact):
        return f"At equal compute, {none_of(len(exact), 'arm')} can be told apart from full training."
    do_worse = f"{'does' if loses == 1 else 'do'} worse"
    if wins:
        parts = [f"{in_words(wins)} of {total} arms {'beats' if wins == 1 else 'beat'} full training"]
        parts += [f"{in_words(loses)} {do_worse}"] if loses else []
    else:
        parts = [f"{in_words(loses)} of {total} arms {do_worse} than full training,"]
    if unknown:
        parts.append(f"{in_words(unknown)} cannot be told apart from it")
    return f"At equal compute, {join(parts)}."


def _found(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    if not exact:
        return [_describe_progress(study)]
    places = decimal_places([v.difference for v in exact if v.difference is not None])
    wins = sorted(_with_outcome(exact, Outcome.WINS), key=_difference)
    loses = sorted(_with_outcome(exact, Outcome.LOSES), key=_difference, reverse=True)
    unknown = _with_outcome(exact, Outcome.CANNOT_TELL)
    sentences = []
    if wins:
        sentences.append(f"Validation loss is lower than full training’s with {_name_arms(wins, places)}.")
    if loses:
        opening = "It is higher" if wins else "Validation loss is higher than full training’s"
        sentences.append(f"{opening} with {_name_arms(loses, places)}.")
    if unknown:
        one = len(unknown) == 1
        reason = (
            f"the {'interval of the difference includes' if one else 'intervals of the differences include'} zero"
        )
        if all(v.interval is None for v in unknown):
            reason = "without an interval a difference cannot be distinguished from chance"
        sentences.append(f"For {_name_arms(unknown, places)} this study cannot tell: {reason}.")
    sentences.append("Differences are in nats per token, arm minus full training; lower is better.")
    return sentences


def _limits(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    sentences = _compare_with_small_models(study, exact)
    missing = _arms_not_compared(study, exact)
    if exact and missing:
        sentences.append(f"Not compared yet: {join(missing)}.")
    return sentences


def _compare_with_small_models(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    """Whether a gain may come from the smaller size instead of from growth."""
    wins = _with_outcome(exact, Outcome.WINS)
    winners = [v for v in wins if (arm := study.find_arm(v.arm)) and not arm.is_control]
    small = [v for v in exact if _is_small_model(study, v)]
    if not winners:
        return []
    if not small:
        return ["No small model was trained alone here, so a gain may come from size and not from growing."]
    if min(map(_difference, small)) <= min(map(_difference, winners)):
        return ["But the small model alone does at least as well: the gain does not come from growing."]
    return []


def _is_small_model(study: StudySummary, verdict: Verdict) -> bool:
    """Whether the arm of a verdict always had fewer blocks than the study's model, and did not grow."""
    arm, full_depth = study.find_arm(verdict.arm), study.regime.depth
    if arm is None or arm.depth is None or full_depth is None:
        return False
    return arm.depth < full_depth and all(point.depth == arm.depth for point in arm.curve)


def _describe_trained_share(study: StudySummary) -> str:
    """How far an unfinished study is; empty if it is finished, or if that is unknown."""
    if study.trained_share is None or study.trained_share >= 1:
        return ""
    return f"This study is unfinished: {done_percent(study.trained_share)} of its compute is trained."


def _describe_progress(study: StudySummary) -> str:
    if not study.arms:
        return "The results contain no arms."
    names = [arm.name for arm in study.arms if arm.mark_at_equal_compute]
    reached = "No arm has reached it."
    if names:
        reached = f"Only {join(names)} {'has' if len(names) == 1 else 'have'} reached it."
    return (
        f"A comparison needs the baseline and an arm at the same compute. {reached} "
        "The curves below show the training so far; before its learning rate has decayed, a curve is not a result."
    )


def _compute(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    known = [v for v in exact if v.compute_multiplier]
    wins, loses = _with_outcome(known, Outcome.WINS), _with_outcome(known, Outcome.LOSES)
    sentences = []
    if wins:
        best = min(wins, key=_difference)
        need = f"full training would need {_times(best)} what {best.arm} spent to reach the same loss"
        sentences.append(f"In compute: {need}{_saving(best)}.")
    if loses:
        worst = max(loses, key=_difference)
        opening = "At the other end, full training" if wins else "In compute: full training"
        sentences.append(f"{opening} reaches the loss of {worst.arm} with {_times(worst)} its compute.")
    paper = [v for v in study.verdicts if v.accounting == PAPER and v.difference is not None]
    if paper:
        ratios = [ratio for v in paper if (ratio := exact_flops_ratio(study, v)) is not None]
        at_most = f" ({max(ratios):.2f} times the baseline’s at most)" if ratios else ""
        sentences.append(
            f"By the paper’s own accounting {_describe_winners(paper)}, but that mark is not equal in exact "
            f"FLOPs{at_most}."
        )
    return sentences + _compare_beyond(study)


def _describe_winners(verdicts: Sequence[Verdict]) -> str:
    """How many arms win: a does not win, neither arm wins, one of two arms wins, all three arms win."""
    winning, total = len(_with_outcome(verdicts, Outcome.WINS)), len(verdicts)
    if total == 1:
        return f"{verdicts[0].arm} {'wins' if winning else 'does not win'}"
    if not winning:
        return f"{none_of(total, 'arm')} wins"
    if winning == total:
        return f"{all_of(total, 'arm')} win"
    return f"{in_words(winning)} of {in_words(total)} arms {'wins' if winning == 1 else 'win'}"


def _compare_beyond(study: StudySummary) -> list[str]:
    """What changes at other budgets than the study's."""
    others = [v for v in study.verdicts if v.is_exact and not v.is_whole_budget and v.difference is not None]
    if not others:
        return []
    shares = [v.budget_share for v in others if v.budget_share is not None]
    low, high = fixed(min(shares), 2), fixed(max(shares), 2)
    budgets = f"{low} times the budget" if low == high else f"{low} to {high} times the budget"
    wins = _with_outcome(others, Outcome.WINS)
    loses = _with_outcome(others, Outcome.LOSES)
    results = [f"{join([v.arm for v in wins])} {'wins' if len(wins) == 1 else 'win'}"] if wins else []
    results += [f"{join([v.arm for v in loses])} {'loses' if len(loses) == 1 else 'lose'}"] if loses else []
    if not results:
        results = ["no arm can be told apart from full training"]
    return [f"Trained on and compared at {budgets}, {join(results)}."]


def _saving(verdict: Verdict) -> str:
    multiplier = verdict.compute_multiplier
    if multiplier is None or multiplier <= 1:
        return ""
    at_least = "at least " if verdict.multiplier_bound is Bound.ABOVE else ""
    return f", a saving of {at_least}{percent(1 - 1 / multiplier)}"


def _times(verdict: Verdict) -> str:
    bound = {Bound.ABOVE: "more than ", Bound.BELOW: "less than ", None: ""}[verdict.multiplier_bound]
    interval = multiplier_interval_text(verdict)
    shown = f" (95 % interval {interval})" if interval and not bound else ""
    return f"{bound}{fixed(verdict.compute_multiplier, 2)} times{shown}"


def _name_arms(verdicts: Sequence[Verdict], places: int) -> str:
    """The first arms with their differences and intervals, and the number of others."""
    names = []
    for verdict in verdicts[:MAX_NAMED_ARMS]:
        interval = f", 95 % interval {interval_text(verdict.interval, places)}" if verdict.interval else ""
        names.append(f"{verdict.arm} ({signed(verdict.difference, places)}{interval})")
    more = len(verdicts) - len(names)
    return join([*names, plural(more, "more arm")] if more else names)


def _arms_not_compared(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    compared = {v.arm for v in exact}
    return [arm.name for arm in study.arms if not arm.is_baseline and arm.name not in compared]


def _with_outcome(verdicts: Sequence[Verdict], outcome: Outcome) -> list[Verdict]:
    return [v for v in verdicts if v.outcome is outcome]


def _difference(verdict: Verdict) -> float:
    return verdict.difference or 0.0
