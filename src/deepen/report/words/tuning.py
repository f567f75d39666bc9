"""How the learning rates and options of a study were tuned, in sentences."""

from deepen.report.summary.study_summary import StudySummary
from deepen.report.units import capitalized, count, join, percent, plural
from deepen.study.results.tuning import TunedArm, TuningResult


def describe_tuning(study: StudySummary) -> str:
    """What was tried for every arm, what it cost, and which choices are at the edge of what was tried."""
    tuning = study.tuning
    if tuning is None:
        return _describe_untuned(study)
    seeds = f"{'seed' if len(tuning.seeds) == 1 else 'seeds'} {join([str(seed) for seed in tuning.seeds])}"
    budget = "the whole budget" if tuning.share in (None, 1.0) else f"{percent(tuning.share or 1.0)} of the budget"
    if tuning.trials_per_arm == 1:  # nothing but a depth is chosen
        first, of = f"{_describe_untuned(study)} One trial of every fixed depth chose the best of them", ""
    else:
        first, of = capitalized(plural(tuning.trials_per_arm, "trial")), " for every arm and every fixed depth"
    sentences = [
        f"{first}{of}, on {seeds}, which no verdict uses, at {budget}.",
        f"{count(tuning.tokens)} tokens were trained for it{_compare_cost(tuning)}.",
    ]
    edges = [arm for arm in tuning.arms if arm.at_edge]
    if edges:
        sentences.append(_describe_edges(edges))
    for arm in tuning.arms:
        if arm.options_at_edge and not arm.at_edge:
            options = join(list(arm.options_at_edge))
            sentences.append(f"The best {options} of {arm.name} is at the end of what was tried.")
    return " ".join(sentences)


def _describe_untuned(study: StudySummary) -> str:
    own = [arm.name for arm in study.arms if arm.own_rate]
    rates = f"every arm but {join(own)} has" if own else "every arm has"
    peak = f", {study.regime.peak_lr:g}" if study.regime.peak_lr else ""
    return (
        f"None in this study: {rates} the study’s learning rate{peak}. If it was chosen for the baseline, arms "
        "that win do so in spite of it, and arms that lose may only lack a rate of their own."
    )


def _compare_cost(tuning: TuningResult) -> str:
    """What sharing saved; empty where it saved nothing."""
    if tuning.tokens_if_separate <= tuning.tokens:
        return ""
    return f", where separate runs would have trained {count(tuning.tokens_if_separate)}"


def _describe_edges(edges: list[TunedArm]) -> str:
    names = join([arm.name for arm in edges])
    rate = "rate is" if len(edges) == 1 else "rates are"
    return (
        f"The best {rate} at the end of what was tried for {names}: a better one may lie beyond, so no multiplier "
        "is claimed."
    )
