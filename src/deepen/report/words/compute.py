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
from deepen.report.summary.study_summary import StudySummary, by_difference, with_outcome
from deepen.report.units import decimal_places, fixed, join, signed
from deepen.study.results.schema import Outcome, Verdict


def describe_compute(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    """What the differences are worth in compute, given the verdicts at equal exact FLOPs."""
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
    return sentences + describe_withheld(exact) + _at_the_papers_mark(study) + _compare_beyond(study)


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


def describe_withheld(exact: Sequence[Verdict]) -> list[str]:
    """Why no multiplier is claimed, by reason, in sentences."""
    withheld = sorted((v for v in exact if v.multiplier_withheld), key=lambda v: v.multiplier_withheld)
    sentences = []
    for reason, group in groupby(withheld, key=lambda v: v.multiplier_withheld):
        names = [v.arm for v in group]
        of = "" if len(names) == len(exact) else f" for {join(names)}"
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
    is_at = "differences are" if len(shown) > 1 else "difference is"
    return [
        f"At the paper’s own marks, which are not equal in exact FLOPs{at_most} and decide nothing, the {is_at} "
        f"{' to '.join(shown)}."
    ]


def _compare_beyond(study: StudySummary) -> list[str]:
    """What changes at other budgets than the study's: which arms win and lose, and where."""
    verdicts = filter(study.shows, study.verdicts)
    others = [v for v in verdicts if v.is_exact and not v.is_whole_budget and v.difference is not None]
    if not others:
        return []
    arms = sorted(study.without_controls(others), key=lambda v: v.budget_share or 0.0)
    wins, loses = with_outcome(arms, Outcome.WINS), with_outcome(arms, Outcome.LOSES)
    results = [*_at_budgets(wins, "wins"), *_at_budgets(loses, "loses")]
    if results:
        return [f"At other budgets, {join(results)}."]
    shares = join([fixed(share, 2) for share in dict.fromkeys(v.budget_share for v in arms)])
    return [f"At {shares} times the budget, no arm can be told apart from {study.baseline_words}."]


def _at_budgets(verdicts: Sequence[Verdict], does: str) -> list[str]:
    """Each arm with the budgets at which it wins or loses: a wins at 0.25 and 0.50 times the study's."""
    shares: dict[str, list[str]] = {}
    for verdict in verdicts:
        shares.setdefault(verdict.arm, []).append(fixed(verdict.budget_share, 2))
    return [f"{arm} {does} at {join(at)} times the study’s" for arm, at in shares.items()]
