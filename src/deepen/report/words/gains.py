"""Where a gain comes from: from growing, or from fewer blocks, which a model of fixed depth has too.

An arm that beats full training may do so because full depth is too deep for this width and budget. So growing
is said to pay only where an arm also beats the best fixed depth, and every other constant depth of the study, one
of which may be better at this budget.

A study without fixed depths may have a small model as a control. It is compared with full training, which shows
whether full depth pays at all, and with the best of the arms that win, through the interval between two arms, in
which the noise of the baseline cancels. Because that pair is chosen from all pairs of a small model and a winner
after their losses were seen, its interval is as wide as if all of them were compared.
"""

from collections.abc import Sequence

from deepen.report.intervals import confidence_text, interval_text
from deepen.report.summary.study_summary import StudySummary, by_difference, with_outcome
from deepen.report.units import decimal_places, join, signed
from deepen.study.judge.strata import widen_for_pairs
from deepen.study.results.schema import Noise, Outcome, Verdict
from deepen.study.results.verdict_schema import CONFIDENCE


def describe_gains(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    """Whether gains come from growing, in sentences, given the verdicts at equal exact FLOPs."""
    arms = [v for v in exact if not study.is_control(v)]
    if study.against_best_depth:
        return _compare_with_best_depth(study, study.against_best_depth, arms)
    small, wins = [v for v in exact if _is_small_model(study, v)], with_outcome(arms, Outcome.WINS)
    alone = min(small, key=by_difference, default=None)
    if study.baseline_is_best_depth:
        judged = [_judge_depth(study, alone)] if alone else []
        return [*judged, *_compare_with_best_depth(study, study, arms)]
    if alone:
        return [
            _judge_depth(study, alone),
            *_compare_with_small_model(study, alone, wins, pairs=len(small) * len(wins)),
        ]
    if wins:
        return ["No small model was trained alone here, so a gain may come from size and not from growing."]
    return []


def _compare_with_best_depth(
    study: StudySummary, against_depth: StudySummary, arms: Sequence[Verdict]
) -> list[str]:
    """Growing pays where an arm beats both baselines, and every other constant depth that was trained.

    Args:
        study: the study.
        against_depth: the same with the best fixed depth as the baseline, which may be the study's own.
        arms: its verdicts that are not on controls.
    """
    best = against_depth.baseline_words
    full_and_best = f"both {study.baseline_words} and the best fixed depth, {best}"
    if against_depth is study:
        full_and_best = f"{best}, the best fixed depth"
    by_arm = {v.arm: v for v in against_depth.exact_verdicts}
    pairs = [(v, by_arm[v.arm]) for v in arms if v.arm in by_arm]
    if not pairs:
        return []
    both = [(first, second) for first, second in pairs if {first.outcome, second.outcome} == {Outcome.WINS}]
    both.sort(key=lambda pair: by_difference(pair[1]))
    if all_depths := [pair for pair in both if not pair[0].depths_not_beaten]:
        beats = "it beats" if len(all_depths) == 1 else "they beat"
        whom = full_and_best
        if any(first.has_other_depths for first, _ in both):
            whom = f"every constant depth, of which {best} is the best in trials"
        return [
            f"Growing pays with {_name([second for _, second in all_depths])}: {beats} {whom}.",
            *_doubt_depths([first for first, _ in all_depths]),
        ]
    if both:
        first, second = both[0]
        return [
            f"Growing is not shown to pay: {_name([second])} beats {full_and_best}, but not "
            f"{join(first.depths_not_beaten)}, which may be better at this budget."
        ]
    nearest = min((second for _, second in pairs), key=by_difference)
    if all(second.outcome is Outcome.LOSES for _, second in pairs):
        worse = f"does worse than the best fixed depth, {best}"
        if len(pairs) == 1:
            return [f"Growing does not pay here: {_name([nearest])} {worse}."]
        return [f"Growing does not pay here: every arm {worse}. The nearest to it is {_name([nearest])}."]
    return [
        f"Growing is not shown to pay: no arm beats {full_and_best}. The nearest to {best} is {_name([nearest])}."
    ]


def _doubt_depths(verdicts: Sequence[Verdict]) -> list[str]:
    """That constant depths which are beaten have a rate at the edge of those tried."""
    depths = list(dict.fromkeys(depth for verdict in verdicts for depth in verdict.depths_at_edge))
    if not depths:
        return []
    return [f"The rate of {join(depths)} is at the edge of those tried, so that a better one may lie outside."]


def _judge_depth(study: StudySummary, alone: Verdict) -> str:
    """Whether full training beats the small model alone, so that full depth pays at this budget."""
    full = study.baseline_words
    match alone.outcome:
        case Outcome.LOSES:
            return f"Full depth pays at this budget: {full} beats the small model alone, {_name([alone])}."
        case Outcome.WINS:
            return (
                f"Full depth does not pay at this budget: the small model alone, {_name([alone])}, beats {full}."
            )
        case _:
            return (
                f"Whether full depth pays at this budget is open: {full} cannot be told from the small model "
                f"alone, {_name([alone])}."
            )


def _compare_with_small_model(
    study: StudySummary, alone: Verdict, wins: Sequence[Verdict], pairs: int
) -> list[str]:
    """Whether the gain of the best arm may come from the smaller size."""
    if not wins:
        return []
    best = min(wins, key=by_difference)
    difference = by_difference(alone) - by_difference(best)
    half_width = _half_width_of_best(study.noise, pairs)
    places = decimal_places([difference])
    shown = signed(difference, places)
    if half_width is not None:
        interval = interval_text((difference - half_width, difference + half_width), places)
        shown = f"{shown}, {confidence_text(best.confidence)} interval {interval}"
    if half_width is not None and difference < -half_width:
        return [
            f"But the small model alone does better still than {best.arm} ({shown}): at this budget fewer blocks "
            "are enough to explain the gain; whether growing adds anything cannot be seen here."
        ]
    if half_width is not None and difference > half_width:
        return [
            f"The small model alone does worse than {best.arm} ({shown}), so the gain is not one of size alone."
        ]
    return [
        f"The small model alone cannot be told from {best.arm} ({shown}), so the gain may be one of size and not "
        "of growing."
    ]


def _half_width_of_best(noise: Noise, pairs: int) -> float | None:
    """The half width of the interval between two arms that were chosen from so many pairs; None if unknown."""
    if noise.arm_half_width is None or pairs == 1:
        return noise.arm_half_width
    if not noise.arms_df:
        return None
    return widen_for_pairs(noise.arm_half_width, noise.arms_df, noise.confidence or CONFIDENCE, pairs)


def _is_small_model(study: StudySummary, verdict: Verdict) -> bool:
    """Whether the arm of a verdict always had fewer blocks than the study's model, and did not grow."""
    arm, full_depth = study.find_arm(verdict.arm), study.regime.depth
    if arm is None or arm.depth is None or full_depth is None:
        return False
    return arm.depth < full_depth and all(point.depth == arm.depth for point in arm.curve)


def _name(verdicts: Sequence[Verdict]) -> str:
    """Arms with their differences and intervals."""
    places = decimal_places([by_difference(v) for v in verdicts])
    names = []
    for v in verdicts:
        interval = (
            f", {confidence_text(v.confidence)} interval {interval_text(v.interval, places)}" if v.interval else ""
        )
        names.append(f"{v.arm} ({signed(v.difference, places)}{interval})")
    return join(names)
