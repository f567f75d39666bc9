"""The caveats of a finding: seeds, tokens per parameter, model size, learning rates, repeated data."""

from collections.abc import Sequence

from deepen.report.summary import StudySummary
from deepen.report.units import capitalized, count, fixed, in_words, join, percent, plural
from deepen.study.results.schema import Verdict

COMPUTE_OPTIMAL = (15, 30)
"""The range of tokens per non-embedding parameter that counts as near the compute-optimal 20."""
FEW_SEEDS = 5
TINY_MODEL, LARGE_MODEL = 2e7, 1e9
"""Parameters below which a model is tiny, and from which it is large."""


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
    ]
    return tuple(caveat for caveat in caveats if caveat)


def _about_seeds(study: StudySummary, exact: Sequence[Verdict]) -> list[str]:
    trained = max((len(arm.seeds) for arm in study.arms), default=0)
    seeds = min((v.n_seeds for v in exact), default=trained)
    if not seeds:
        return []
    if seeds == 1:
        return [
            "One seed: there is no interval and no noise floor, so no difference here can be distinguished from "
            "chance."
        ]
    few = ", which is few" if seeds < FEW_SEEDS else ""
    sentences = [f"{capitalized(plural(seeds, 'seed'))}{few}, compared seed by seed."]
    seed_std = study.noise.baseline_seed_std
    if seed_std is not None:
        sentences.append(
            "The noise floor, one standard deviation of the baseline’s loss over seeds, is "
            f"{fixed(seed_std, 4)} nats per token."
        )
    intervals = sum(v.interval is not None for v in exact)
    if intervals > 2:
        sentences.append(
            f"The intervals are 95 % each: of {in_words(intervals)}, the chance that at least one misses is "
            f"up to {percent(min(1.0, intervals * 0.05))}."
        )
    return sentences


def _about_tokens_per_parameter(ratio: float | None) -> str:
    if ratio is None:
        return ""
    low, high = COMPUTE_OPTIMAL
    start = f"The baseline saw {_ratio(ratio)} tokens per non-embedding parameter:"
    if ratio < low:
        return f"{start} well under 20, an under-trained regime in which almost anything that grows looks good."
    if ratio <= high:
        return f"{start} near the 20 that is compute-optimal."
    return f"{start} above the compute-optimal 20, over-trained, where the gains of growing shrink."


def _about_size(parameters: float | None) -> str:
    if parameters is None:
        return ""
    if parameters < TINY_MODEL:
        return f"The model has {count(parameters)} parameters; one this small says little about a large one."
    if parameters < LARGE_MODEL:
        return f"The model has {count(parameters)} parameters; larger ones may behave differently."
    return f"The model has {count(parameters)} parameters."


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
    """Whether arms have learning rates of their own."""
    own = [f"{arm.name} ({arm.own_rate})" for arm in study.arms if arm.own_rate]
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


def _about_epochs(epochs: float | None) -> str:
    if epochs is None or epochs <= 1.005:
        return ""
    return f"The longest arm read its data {_ratio(epochs)} times: repeated tokens teach less than fresh ones."


def _ratio(value: float) -> str:
    return fixed(value, 1) if value < 9.95 else fixed(value, 0)
