"""How the verdicts of a study were decided: the rows of a box on the page, each with a label and sentences.

A reader who doubts a verdict looks here: which seeds and how many looks, what was declared beforehand, how the
arms were tuned, what the intervals allow for, and what they cannot see.
"""

from dataclasses import dataclass

import scipy  # imports `scipy.special` when it is first used

from deepen.report.intervals import confidence_text
from deepen.report.summary.study_summary import StudySummary
from deepen.report.units import capitalized, count, fixed, in_words, join, percent, plural
from deepen.report.words.caveats import MAX_SHOWN_MULTIPLIER, describe_power
from deepen.report.words.tuning import describe_tuning
from deepen.study.judge.power import detectable_multiplier
from deepen.study.results.schema import Noise

SIGNIFICANT = 0.05
MORE_SEEDS = (3, 5, 8)
"""Numbers of seeds for which the box says what they could tell: the first that is larger than the study's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One part of the procedure: a label, and one or more sentences."""

    label: str
    text: str


def describe_procedure(study: StudySummary) -> tuple[Decided, ...]:
    """How the verdicts were decided; empty where nothing is compared."""
    if not study.exact_verdicts:
        return ()
    parts = {
        "Seeds": _seeds(study),
        "Looks": _looks(study),
        "Primary arm": _primary(study),
        "Tuning": describe_tuning(study),
        "Second baseline": _second_baseline(study),
        "Intervals": _intervals(study.noise),
        "Noise": _noise(study),
        "Power": _power(study),
        "Validation text": _validation(study),
        "What varies": _varies(study),
    }
    return tuple(Decided(label=label, text=text) for label, text in parts.items() if text)


def _seeds(study: StudySummary) -> str:
    seeds = study.baseline.seeds if study.baseline else ()
    if not seeds:
        return ""
    return f"{capitalized(in_words(len(seeds)))} ({join([str(seed) for seed in seeds])}), the same for every arm."


def _looks(study: StudySummary) -> str:
    looks = study.looks
    if not looks:
        return ""
    planned = f"{plural(study.seeds_planned, 'seed')} were planned" if study.seeds_planned > 1 else ""
    if len(looks) == 1:
        first = f"{capitalized(planned)}; verdicts" if planned else "Verdicts"
        return f"{first} were written once, with {plural(looks[0], 'seed')}."
    written = f"Verdicts were written with {join([in_words(look) for look in looks])} seeds"
    return (
        f"{f'{capitalized(planned)}. ' if planned else ''}{written}: to look again gives chance another try, so "
        f"these intervals have {confidence_text(study.noise.confidence)}."
    )


def _primary(study: StudySummary) -> str:
    if study.primary:
        return f"{study.primary} was declared before the first verdict. All other arms are exploratory."
    if len(study.exact_verdicts) < 2:
        return ""
    return "None was declared before the first verdict, so no single arm counts more than the others."


def _second_baseline(study: StudySummary) -> str:
    best = study.best_fixed_depth
    if not best:
        return "None: fixed depths were not compared, so fewer blocks alone may do as well as growing."
    if study.baseline_is_best_depth:
        return (
            f"None: of the fixed depths that were tried, {study.baseline_words} is the best.{_other_depths(study)}"
        )
    return (
        f"{best}, the best fixed depth of those tried. Growing is said to pay only where both are beaten."
        f"{_other_depths(study)}"
    )


def _other_depths(study: StudySummary) -> str:
    """The depths that are the best at smaller budgets, in a sentence; empty if it is the same at all of them."""
    shares: dict[str, list[str]] = {}
    for best in study.tuning.best_depths if study.tuning else ():
        if best.arm != study.best_fixed_depth:
            shares.setdefault(best.arm, []).append(percent(best.budget_share))
    if not shares:
        return ""
    found = "; ".join(f"{arm} at {join(budgets)} of the budget" for arm, budgets in shares.items())
    return f" At smaller budgets, trials found others: {found}. All are compared at every budget."


def _intervals(noise: Noise) -> str:
    if noise.critical_value is None or noise.stderr is None:
        return ""
    joint = f"The {in_words(noise.arms)} intervals hold together" if noise.arms > 1 else "The interval holds"
    quantile = f"{fixed(noise.critical_value, 2)} ({'Dunnett' if noise.arms > 1 else 'Student'})"
    wider = "; that of an arm noisier than the others is wider" if noise.arms > 2 else ""
    return (
        f"{joint} with {confidence_text(noise.confidence)}. Half an interval is {quantile} times a standard error "
        f"of {fixed(noise.stderr, 4)} nats, which has {fixed(noise.degrees_of_freedom, 1)} degrees of "
        f"freedom{wider}."
    )


def _noise(study: StudySummary) -> str:
    noise = study.noise
    if noise.arms_std is None and noise.baseline_std is None:
        return ""
    parts = []
    if noise.baseline_std is not None:
        shown = _with_range(noise.baseline_std, noise.baseline_df)
        parts.append(f"{study.baseline_words} scatters by {shown}")
    if noise.arms_std is not None:
        parts.append(f"the arms {'' if parts else 'scatter '}by {_with_range(noise.arms_std, noise.arms_df)}")
    sentences = [f"Between seeds, beyond what a seed does to all runs alike, {', '.join(parts)} nats."]
    if noise.unequal_p is not None and noise.unequal_p < SIGNIFICANT:
        sentences.append(_describe_unequal(noise))
    return " ".join(sentences)


def _describe_unequal(noise: Noise) -> str:
    is_baseline = (noise.baseline_std or 0.0) > (noise.arms_std or 0.0)
    noisier = "The baseline is noisier than the arms" if is_baseline else "The arms are noisier than the baseline"
    return f"{noisier}; the intervals allow for it."


def _with_range(std: float, freedom: int | None) -> str:
    """A standard deviation with its 95 % interval: 0.0143 (0.0074 to 0.090)."""
    if not freedom:
        return fixed(std, 4)
    low, high = (std * (freedom / float(scipy.special.chdtri(freedom, q))) ** 0.5 for q in (0.025, 0.975))
    return f"{fixed(std, 4)} ({fixed(low, 4)} to {fixed(high, 4)})"


def _power(study: StudySummary) -> str:
    """What this study could tell, and what more seeds could if they had been planned: in one look."""
    noise, power = study.noise, describe_power(study)
    for seeds in MORE_SEEDS:
        if power and seeds > noise.seeds:
            detectable = detectable_multiplier(noise, seeds=seeds)
            if detectable is None or detectable > MAX_SHOWN_MULTIPLIER:
                return power
            more = f"{capitalized(in_words(seeds))}, had they been planned,"
            return f"{power} {more} could tell {fixed(detectable, 2)}."
    return power


def _validation(study: StudySummary) -> str:
    data, text_std = study.regime.data, study.noise.text_std
    tokens = data.mark_tokens or data.validation_tokens
    if tokens is None:
        return ""
    if text_std is None:
        return f"{count(tokens)} tokens. Other text would give other differences; the intervals ignore that."
    return (
        f"{count(tokens)} tokens. Which text is validated on adds a standard error of {fixed(text_std, 4)}, which "
        "the intervals include."
    )


def _varies(study: StudySummary) -> str:
    allowed, unseen = ["data order", "initialization", "rounding"], ["corpus", "tokenizer", "model size"]
    (allowed if study.noise.text_std is not None else unseen).append("validation text")
    unseen.append("learning-rate schedule")
    return (
        f"The intervals allow for {join(allowed)}. They cannot show what another {', '.join(unseen[:-1])} or "
        f"{unseen[-1]} would change."
    )
