"""The differences of a study in compute: multipliers, savings, and what its other marks show."""

from collections.abc import Sequence
from itertools import groupby

from deepen.compute.accounting import PAPER
from deepen.report.intervals import (
    saving_text,
    seconds_interval_text,
    seconds_multiplier_text,
    times_confidence_text,
    times_text,
)
from deepen.report.summary import StudySummary, by_difference, with_outcome
from deepen.report.units import decimal_places, fixed, join, signed
from deepen.study.results.schema import Outcome, Verdict


def describe_compute(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    """What the differences are worth in compute, given the verdicts at equal exact FLOPs."""
    arms = study.without_controls(exact)
    known = [v for v in study.choose(exact) if v.compute_multiplier]
    wins, loses = with_outcome(known, Outcome.WINS), with_outcome(known, Outcome.LOSES)
    sentences = []
    if wins:
        best = min(wins, key=by_difference)
        saving = saving_text(best)
        sentences.append(f"In compute: {_reach(study, best)}{f', a saving of {saving}' if saving else ''}.")
        sentences += _in_seconds(best)
    if loses:
        worst = max(loses, key=by_difference)
        sentences.append(f"{'At the other end:' if wins else 'In compute:'} {_reach(study, worst)}.")
        sentences += _in_seconds(worst)
    return sentences + _withheld(arms) + _at_the_papers_mark(study) + _compare_beyond(study)


def _reach(study: StudySummary, verdict: Verdict) -> str:
    return (
        f"{study.baseline_words} would reach the loss of {verdict.arm} with {times_text(verdict)} its compute "
        f"({times_confidence_text(verdict)})"
    )


def _in_seconds(verdict: Verdict) -> list[str]:
    """The multiplier in seconds, as a sentence; none where it was not measured."""
    number, interval = seconds_multiplier_text(verdict), seconds_interval_text(verdict)
    if not number:
        return []
    return [f"In seconds, as measured here: {number}{f' ({interval})' if interval else ''}."]


def _withheld(arms: Sequence[Verdict]) -> list[str]:
    """Why no multiplier is claimed, by reason."""
    withheld = sorted((v for v in arms if v.multiplier_withheld), key=lambda v: v.multiplier_withheld)
    sentences = []
    for reason, group in groupby(withheld, key=lambda v: v.multiplier_withheld):
        names = [v.arm for v in group]
        of = "" if len(names) == len(arms) else f" for {join(names)}"
        sentences.append(f"No multiplier is claimed{of}: {reason}.")
    return sentences


def _at_the_papers_mark(study: StudySummary) -> list[str]:
    """The differences at the paper's marks, where exact FLOPs are not equal, so that nothing wins there."""
    paper = [v for v in study.verdicts if v.accounting == PAPER and v.difference is not None]
    if not paper:
        return []
    differences = sorted(map(by_difference, paper))
    places = decimal_places(differences)
    shown = list(dict.fromkeys(signed(each, places) for each in (differences[0], differences[-1])))
    ratios = [ratio for v in paper if (ratio := study.exact_flops_ratio(v)) is not None]
    at_most = f" ({max(ratios):.2f} times the baseline’s at most)" if ratios else ""
    return [
        f"At the paper’s own marks the difference is {' to '.join(shown)}; they are not equal in exact "
        f"FLOPs{at_most} and decide nothing."
    ]


def _compare_beyond(study: StudySummary) -> list[str]:
    """What changes at other budgets than the study's."""
    others = [v for v in study.verdicts if v.is_exact and not v.is_whole_budget and v.difference is not None]
    if not others:
        return []
    shares = [v.budget_share for v in others if v.budget_share is not None]
    low, high = fixed(min(shares), 2), fixed(max(shares), 2)
    budgets = f"{low} times the budget" if low == high else f"{low} to {high} times the budget"
    arms = study.without_controls(others)
    wins, loses = with_outcome(arms, Outcome.WINS), with_outcome(arms, Outcome.LOSES)
    results = [f"{join([v.arm for v in wins])} {'wins' if len(wins) == 1 else 'win'}"] if wins else []
    results += [f"{join([v.arm for v in loses])} {'loses' if len(loses) == 1 else 'lose'}"] if loses else []
    if not results:
        results = [f"no arm can be told apart from {study.baseline_words}"]
    return [f"Trained on and compared at {budgets}, {join(results)}."]
