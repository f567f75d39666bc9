"""The caveats of a finding: seeds, tokens per parameter, model size, learning rates, repeated data."""

from collections.abc import Sequence

from deepen.report.summary.study_summary import COMPUTE_OPTIMAL, StudySummary
from deepen.report.units import capitalized, count, fixed, join, percent, plural
from deepen.report.units import ratio as shown_ratio
from deepen.study.results.schema import Verdict

FEW_SEEDS = 5
EXPLORATORY_SEEDS = 3
"""Verdicts of so many seeds or fewer are exploratory."""
UNEVEN_STEPS = 1.2
"""The ratio of the quartiles of equal steps' times from which on measured seconds are rough."""
MAX_SHOWN_MULTIPLIER = 5
"""A detectable multiplier above this is not shown: a study that can tell no smaller one can tell nothing."""
TINY_MODEL, LARGE_MODEL = 2e7, 1e9
"""Parameters below which a model is tiny, and from which it is large."""
_OLD_INTERVALS = (
    "These intervals are those of an earlier deepen, which are often too narrow: the command that ran the study "
    "judges it again, and trains nothing."
)


def list_caveats(study: StudySummary, exact: Sequence[Verdict]) -> tuple[str, ...]:
    """The caveats of a study as sentences, given its verdicts at equal exact FLOPs."""
    caveats = [
        *_about_seeds(study, exact),
        _about_tokens_per_parameter(study.regime.tokens_per_parameter),
        _about_size(study.regime.parameters),
        _about_decay(study),
        _about_rates(study),
        _about_late_growth(study),
        _about_epochs(study.regime.data.epochs),
        _about_step_times(study, exact),
    ]
    return tuple(caveat for caveat in caveats if caveat)


def _about_seeds(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    trained = max((len(arm.seeds) for arm in study.arms), default=0)
    seeds = min((v.n_seeds for v in exact), default=trained)
    if not seeds:
        return []
    if seeds == 1:
        return ["One seed: there is no interval, so no difference here can be distinguished from chance."]
    what = ", which is few," if seeds < FEW_SEEDS else ""
    explore = ": take the verdicts as exploratory" if seeds <= EXPLORATORY_SEEDS else ""
    sentences = [f"{capitalized(plural(seeds, 'seed'))}{what} compared seed by seed{explore}."]
    if exact and study.noise.critical_value is None:
        return [*sentences, _OLD_INTERVALS]
    if (power := describe_power(study)) and exact:
        sentences.append(power)
    return sentences


def describe_power(study: StudySummary) -> str:
    """The smallest multiplier that the study could detect, in a sentence; empty if it is unknown."""
    detectable, seeds = study.noise.detectable_multiplier, study.noise.seeds
    if detectable is None or not seeds:
        return ""
    subject = capitalized(plural(seeds, "seed"))
    if detectable > MAX_SHOWN_MULTIPLIER:
        return f"{subject} could not tell even a multiplier of {MAX_SHOWN_MULTIPLIER} here."
    return f"{subject} could tell a multiplier of {fixed(detectable, 2)} or more, with probability 0.8."


def _about_tokens_per_parameter(ratio: float | None) -> str:
    if ratio is None:
        return ""
    low, high = COMPUTE_OPTIMAL
    start = f"The baseline saw {shown_ratio(ratio)} tokens per non-embedding parameter:"
    if ratio < low:
        return f"{start} well under 20, an under-trained regime in which almost anything that grows looks good."
    if ratio <= high:
        return f"{start} near the 20 that is compute-optimal."
    return f"{start} above the 20 that is compute-optimal, over-trained."


def _about_size(parameters: float | None) -> str:
    if parameters is None:
        return ""
    seen = f"Seen at one size, a model of {count(parameters)}"
    if parameters < TINY_MODEL:
        return f"{seen} parameters; one this small says little about a large one."
    if parameters < LARGE_MODEL:
        return f"{seen} parameters; larger ones may behave differently."
    return f"{seen} parameters."


def _about_decay(study: StudySummary) -> str:
    """Whether the learning rate was fully decayed at the compared points."""
    marks = {arm.name: [mark for mark in arm.marks if mark.is_exact] for arm in study.arms}
    if not any(marks.values()):
        return ""
    undecayed = [name for name, exact in marks.items() if any(not mark.annealed for mark in exact)]
    if not undecayed:
        return "Every point compared ends a run whose learning rate was fully decayed."
    if len(undecayed) == len(study.arms):
        start = "No point compared had"
    else:
        start = f"Not every point of {join(undecayed)} has"
    return f"{start} a fully decayed learning rate: an undecayed curve is only a hint, not a result."


def _about_rates(study: StudySummary) -> str:
    """Whether arms have learning rates of their own that no trials chose."""
    tuned = {arm.name for arm in study.tuning.arms} if study.tuning else set()
    own = [f"{arm.name} ({arm.own_rate})" for arm in study.arms if arm.own_rate and arm.name not in tuned]
    if not own:
        return ""
    have = "has a learning rate of its own" if len(own) == 1 else "have learning rates of their own"
    return f"{join(own)} {have}: the comparison is fair only if the rate of every arm was tuned alike."


def _about_late_growth(study: StudySummary) -> str:
    """Whether arms grew after their learning rate had begun to decay."""
    late = [
        f"{arm.name} grew when its learning rate had decayed to {percent(share)} of its peak"
        for arm in study.arms
        if (share := arm.grown_at_lr_share) is not None
    ]
    return f"{join(late)}: new blocks then learn at a low rate." if late else ""


def _about_step_times(study: StudySummary, exact: Sequence[Verdict]) -> str:
    """Whether the machine was too busy for its seconds to be trusted."""
    spread = study.regime.step_time_spread
    if spread is None or spread < UNEVEN_STEPS or not any(verdict.seconds_multiplier for verdict in exact):
        return ""
    return (
        f"The machine was busy: the middle half of equal steps differ by up to {percent(spread - 1)} in time, so "
        "the multipliers in seconds are rough."
    )


def _about_epochs(epochs: float | None) -> str:
    if epochs is None or epochs <= 1.005:
        return ""
    return (
        f"The longest arm read its data {shown_ratio(epochs)} times: repeated tokens teach less than fresh ones."
    )
