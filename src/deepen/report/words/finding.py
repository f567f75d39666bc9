"""The finding of a study in sentences, for the top of the page.

Where a gain comes from is described in `gains`, how far to trust it in `caveats`, how it was decided in `decided`.
Arms that are there to win are described apart from controls, whose purpose is to isolate a cause.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deepen.report.intervals import confidence_text, interval_text
from deepen.report.summary.study_summary import StudySummary, by_difference, with_outcome
from deepen.report.units import (
    all_of,
    capitalized,
    decimal_places,
    done_percent,
    fixed,
    in_words,
    join,
    none_of,
    plural,
    ratio,
    signed,
)
from deepen.report.words.caveats import list_caveats
from deepen.report.words.compute import describe_compute
from deepen.report.words.gains import describe_gains
from deepen.report.words.introduction import describe_single_arm
from deepen.study.results.schema import Outcome, Verdict

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
    exact = study.exact_verdicts
    return Finding(
        headline=_headline(study, exact),
        progress=_describe_trained_share(study),
        found=" ".join(_found(study, exact)),
        limits=tuple(_limits(study, exact)),
        compute=" ".join(describe_compute(study, exact)),
        caveats=list_caveats(study, exact),
    )


def _headline(study: StudySummary, exact: Sequence[Verdict]) -> str:
    planned_seeds = max(study.seeds_planned, len(study.regime.seeds))  # more may follow after a verdict
    if not exact and planned_seeds > study.finished_seeds > 0:
        planned, done = plural(planned_seeds, "seed"), in_words(study.finished_seeds)
        if study.looks and planned_seeds > study.seeds_planned:
            return f"There is no finding yet: seeds were added, and {done} of {planned} are done."
        return f"There is no finding yet: {planned} are planned, and {done} of them done."
    if not exact:
        return f"There is no finding yet: no arm has been compared with {study.baseline_words} at equal compute."
    where, arms = "At equal compute,", study.choose(exact)
    if study.is_undertrained:
        where = f"At equal compute, with only {ratio(study.regime.tokens_per_parameter)} tokens per parameter,"
    return " ".join([_claim(where, arms, study.baseline_words), *_claim_about_depth(study, arms)])


def _claim_about_depth(study: StudySummary, arms: Sequence[Verdict]) -> list[str]:
    """How many of the arms that beat the baseline beat the best fixed depth too, or that all do worse than it.

    An arm counts only if it beats every other constant depth of the study as well.
    """
    against_depth, wins = study.against_best_depth, {v.arm for v in with_outcome(arms, Outcome.WINS)}
    unbeaten = {v.arm for v in arms if v.depths_not_beaten}
    if study.baseline_is_best_depth and any(v.has_other_depths for v in arms):
        return _claim_about_other_depths(len(wins - unbeaten), len(wins), len(arms))
    if against_depth is None:
        return []
    best, seconds = f"the best fixed depth, {against_depth.baseline_words}", against_depth.exact_verdicts
    if {v.arm for v in arms} <= {v.arm for v in with_outcome(seconds, Outcome.LOSES)}:
        they_do = {1: "It does", 2: "Both do"}.get(len(arms), "All of them do")
        return [f"{they_do} worse than {best}."]
    if not wins:
        return []
    both = {v.arm for v in with_outcome(seconds, Outcome.WINS)} & wins
    if not both:
        return [f"{'It is not' if len(wins) == 1 else 'None of them is'} shown to beat {best}."]
    if both <= unbeaten:
        return [f"{_beats(len(both), len(wins), len(arms))} {best}, too, but not every other constant depth."]
    others = " and every other constant depth" if both & unbeaten else ""
    return [f"{_beats(len(both - unbeaten), len(wins), len(arms))} {best}{others}, too."]


def _claim_about_other_depths(n: int, wins: int, arms: int) -> list[str]:
    """That n of the arms that beat the baseline, the best fixed depth, beat every other constant depth too."""
    if not wins:
        return []
    if not n:
        return [f"{'It is not' if wins == 1 else 'None of them is'} shown to beat every other constant depth."]
    return [f"{_beats(n, wins, arms)} every other constant depth, too."]


def _beats(n: int, wins: int, arms: int) -> str:
    """That n of the arms that win, which are all arms or some of them, beat something."""
    if n < wins:
        return f"{capitalized(in_words(n))} of them {'beats' if n == 1 else 'beat'}"
    if wins == arms:
        return "It beats" if n == 1 else "They beat"
    return "That one beats" if n == 1 else f"Those {in_words(n)} beat"


def _claim(where: str, arms: Sequence[Verdict], full: str) -> str:
    """How many arms win and lose."""
    if len(arms) == 1:
        claim = {
            Outcome.WINS: "beats",
            Outcome.LOSES: "does worse than",
            Outcome.CANNOT_TELL: "cannot be told apart from",
        }[arms[0].outcome or Outcome.CANNOT_TELL]
        return f"{where} {arms[0].arm} {claim} {full}."
    wins, loses, unknown = (len(with_outcome(arms, outcome)) for outcome in Outcome)
    total = in_words(len(arms))
    if wins == len(arms):
        return f"{where} {all_of(len(arms), 'arm')} beat {full}."
    if loses == len(arms):
        return f"{where} {none_of(len(arms), 'arm')} keeps up with {full}."
    if unknown == len(arms):
        return f"{where} {none_of(len(arms), 'arm')} can be told apart from {full}."
    do_worse = f"{'does' if loses == 1 else 'do'} worse"
    if wins:
        parts = [f"{in_words(wins)} of {total} arms {'beats' if wins == 1 else 'beat'} {full}"]
        parts += [f"{in_words(loses)} {do_worse}"] if loses else []
    else:
        parts = [f"{in_words(loses)} of {total} arms {do_worse} than {full},"]
    if unknown:
        parts.append(f"{in_words(unknown)} cannot be told apart from it")
    return f"{where} {join(parts)}."


def _found(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    if not exact:
        return [_describe_progress(study)]
    full, places = study.baseline_words, decimal_places([v.difference for v in exact if v.difference is not None])
    arms = study.without_controls(exact)
    controls = [v for v in exact if v not in arms]
    wins = sorted(with_outcome(arms, Outcome.WINS), key=by_difference)
    loses = sorted(with_outcome(arms, Outcome.LOSES), key=by_difference, reverse=True)
    unknown = with_outcome(arms, Outcome.CANNOT_TELL)
    sentences = []
    if wins:
        sentences.append(f"Validation loss is lower than {full}’s with {_name_arms(wins, places)}.")
    if loses:
        opening = "It is higher" if wins else f"Validation loss is higher than {full}’s"
        sentences.append(f"{opening} with {_name_arms(loses, places)}.")
    if unknown:
        sentences.append(f"For {_name_arms(unknown, places)} this study cannot tell: {_explain_unknown(unknown)}")
    if controls:
        sentences.append(f"Controls, which show where a gain comes from: {_name_arms(controls, places)}.")
    known = [v for v in exact if v.interval]
    interval = f", and its {confidence_text(known[0].confidence)} interval" if known else ""
    sentences.append(
        f"In brackets: the difference in nats per token, arm minus {full}{interval}; lower is better."
    )
    return sentences


def _explain_unknown(unknown: Sequence[Verdict]) -> str:
    """Why the study cannot tell, and what it excludes nevertheless."""
    intervals = [v.interval for v in unknown if v.interval]
    if not intervals:
        return "without an interval a difference cannot be distinguished from chance."
    places = decimal_places([end for interval in intervals for end in interval])
    one = len(unknown) == 1
    why = f"the {'interval of the difference includes' if one else 'intervals of the differences include'} zero."
    if len(intervals) < len(unknown):
        return why
    gain, loss = (abs(f(ends)) for f, ends in zip((min, max), zip(*intervals, strict=True), strict=True))
    ends = [(v.multiplier_interval or (0.0, 0.0))[1] for v in unknown]
    bounds = [v.multiplier_interval_bounds for v in unknown]
    is_known = all(ends) and not any(bound and bound[1] for bound in bounds)
    times = f" ({fixed(max(ends), 2)} times the compute)" if is_known else ""
    return (
        f"{why} {'It excludes' if one else 'They exclude'} gains above {fixed(gain, places)} nats{times} and "
        f"losses above {fixed(loss, places)}."
    )


def _limits(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    sentences = describe_gains(study, exact)
    missing = _arms_not_compared(study, exact)
    if exact and missing:
        sentences.append(f"Not compared yet: {join(missing)}.")
    return sentences


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


def _name_arms(verdicts: Sequence[Verdict], places: int) -> str:
    """The first arms with their differences and intervals, and the number of others."""
    names = []
    for verdict in verdicts[:MAX_NAMED_ARMS]:
        interval = f"; {interval_text(verdict.interval, places)}" if verdict.interval else ""
        names.append(f"{verdict.arm} ({signed(verdict.difference, places)}{interval})")
    more = len(verdicts) - len(names)
    return join([*names, plural(more, "more arm")] if more else names)


def _arms_not_compared(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    compared = {v.arm for v in exact}
    return [arm.name for arm in study.arms if not arm.is_baseline and arm.name not in compared]
