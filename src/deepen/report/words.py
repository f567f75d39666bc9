"""What was found and how far to trust it, in plain words, from verdicts, regime and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepen.report.results import Study, Verdict, number, table, text
from deepen.report.units import capital, count, in_words, join, percent, places_for, plain, plural, signed

MAX_NAMED = 3  # arms spelled out with their numbers in one sentence; the table has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The head of the page: one line, what was found, what it means in compute, how far to trust it."""

    headline: str
    found: str
    compute: str
    trust: tuple[str, ...]


def finding(study: Study) -> Finding:
    """Say what the study found; an unfinished study is told as one."""
    exact = [v for v in study.verdicts if v.accounting == "flops" and v.difference is not None]
    return Finding(
        headline=_headline(study, exact),
        found=" ".join(_found(study, exact)),
        compute=" ".join(_compute(study, exact)),
        trust=tuple(_trust(study, exact)),
    )


def compared(study: Study) -> str:
    """One line: which arms, which model, how much data."""
    regime, others = study.regime, [arm for arm in study.arms if not arm.is_baseline]
    model = f"a {_integer(regime.get('depth'))}-layer model" if number(regime.get("depth")) else "one model"
    if number(regime.get("parameters")):
        model += f" of {count(number(regime.get('parameters')))} parameters"
    budget = number(regime.get("baseline_tokens"))
    data = text(table(regime.get("data")).get("name"))
    amount = f" on {count(budget)} tokens" if budget else ""
    ways = f"{plural(len(others), 'way')} of training" if others else "Training"
    line = f"{capital(ways)} {model}, against ordinary full training{amount}{' of ' + data if data else ''}"
    return f"{line}, at equal compute."


def _headline(study: Study, exact: Sequence[Verdict]) -> str:
    if not exact:
        return "There is no finding yet: no arm has been compared with full training at equal compute."
    wins, loses, unknown = (_with(exact, outcome) for outcome in ("wins", "loses", "cannot tell"))
    if len(exact) == 1:
        ending = {"wins": "beats", "loses": "does worse than"}.get(exact[0].outcome, "cannot be told apart from")
        return f"At equal compute, {exact[0].arm} {ending} full training."
    every = in_words(len(exact))
    for group, claim in (
        (wins, f"all {every} arms beat full training"),
        (loses, f"none of the {every} arms keeps up with full training"),
        (unknown, f"none of the {every} arms can be told apart from full training"),
    ):
        if len(group) == len(exact):
            return f"At equal compute, {claim}."
    beat = f"{in_words(len(wins))} of {every} arms {_verb(wins, 'beat')} full training" if wins else ""
    lose = f"{in_words(len(loses))} {_verb(loses, 'do')} worse" if loses else ""
    same = f"{in_words(len(unknown))} cannot be told apart from it" if unknown else ""
    if not wins:
        lose = f"{in_words(len(loses))} of {every} arms {_verb(loses, 'do')} worse than full training"
        return f"At equal compute, {lose}, and {same}."
    rest = [part for part in (lose, same) if part]
    return f"At equal compute, {', '.join([beat, *rest[:-1]])} and {rest[-1]}."


def _found(study: Study, exact: Sequence[Verdict]) -> list[str]:
    if not exact:
        return [_unfinished(study)]
    places = places_for([v.difference for v in exact if v.difference is not None])
    sentences = []
    if wins := sorted(_with(exact, "wins"), key=lambda v: v.difference or 0):
        sentences.append(f"Validation loss is lower than full training’s with {_listed(wins, places)}.")
    if loses := sorted(_with(exact, "loses"), key=lambda v: -(v.difference or 0)):
        sentences.append(
            f"{'It is higher' if wins else 'Validation loss is higher than full training’s'} "
            f"with {_listed(loses, places)}."
        )
    if unknown := _with(exact, "cannot tell"):
        reason = "the interval of the difference includes zero"
        if all(v.interval is None for v in unknown):
            reason = "without an interval a difference cannot be told from luck"
        sentences.append(f"For {_listed(unknown, places)} this study cannot tell: {reason}.")
    sentences.append("Differences are in nats per token, arm minus full training; lower is better.")
    winners = [v for v in wins if (arm := study.arm(v.arm)) and not arm.is_control]
    small = [v for v in exact if (arm := study.arm(v.arm)) and arm.recipe == "small"]
    if winners and not small:
        sentences.append(
            "No small model was trained alone here, so a gain may come from size and not from growing."
        )
    elif winners and min(v.difference or 0 for v in small) <= min(v.difference or 0 for v in winners):
        sentences.append("But the small model alone does at least as well: the gain is not one of growing.")
    if missing := _missing(study, exact):
        sentences.append(f"Not compared yet: {join(missing)}.")
    return sentences


def _unfinished(study: Study) -> str:
    if not study.arms:
        return "The results hold no arm."
    have = [arm.name for arm in study.arms if arm.at_equal_compute()]
    reached = (
        f"Only {join(have)} {'has' if len(have) == 1 else 'have'} reached it."
        if have
        else "No arm has reached it."
    )
    return (
        f"The study is unfinished: a comparison needs the baseline and an arm at the same compute. {reached} "
        "The curves below are on the way there; before its learning rate has decayed, a curve is no result."
    )


def _compute(study: Study, exact: Sequence[Verdict]) -> list[str]:
    known = [v for v in exact if v.multiplier is not None]
    wins = [v for v in _with(known, "wins") if v.multiplier]
    sentences = []
    if wins:
        best = min(wins, key=lambda v: v.difference or 0)
        saving = ""
        if best.multiplier and best.multiplier > 1:
            least = "at least " if best.multiplier_bound == "above" else ""
            saving = f", a saving of {least}{percent(1 - 1 / best.multiplier)}"
        sentences.append(
            f"In compute: full training would need {_times(best)} what {best.arm} spent to reach the "
            f"same loss{saving}."
        )
    if loses := _with(known, "loses"):
        worst = max(loses, key=lambda v: v.difference or 0)
        opening = "At the other end, full training" if wins else "In compute: full training"
        sentences.append(f"{opening} reaches the loss of {worst.arm} with {_times(worst)} its compute.")
    paper = [v for v in study.verdicts if v.accounting == "paper" and v.difference is not None]
    if paper:
        shares = [s for v in paper if (s := exact_share(study, v)) is not None]
        given = f" ({max(shares):.2f} times the baseline’s at most)" if shares else ""
        winning = len(_with(paper, "wins"))
        who = f"{in_words(winning) if winning else 'none'} of {in_words(len(paper))}"
        sentences.append(
            f"By the paper’s own accounting {who} {'wins' if winning < 2 else 'win'}, but that mark is "
            f"not equal in exact FLOPs{given}."
        )
    return sentences


def _trust(study: Study, exact: Sequence[Verdict]) -> list[str]:
    regime = study.regime
    return [
        sentence
        for sentence in (
            *_seeds(study, exact),
            _tokens_per_parameter(number(regime.get("tokens_per_parameter"))),
            _size(number(regime.get("parameters"))),
            _annealed(study),
            _epochs(number(table(regime.get("data")).get("epochs"))),
        )
        if sentence
    ]


def _seeds(study: Study, exact: Sequence[Verdict]) -> list[str]:
    seeds = min((v.n_seeds for v in exact), default=max((len(a.seeds) for a in study.arms), default=0))
    if not seeds:
        return []
    if seeds == 1:
        return ["One seed: there is no interval and no noise floor, so no difference here can be told from luck."]
    few = ", which is few" if seeds < 5 else ""
    sentences = [f"{capital(plural(seeds, 'seed'))}{few}, compared seed by seed."]
    if study.noise_floor is not None:
        sentences.append(
            "The noise floor, the baseline’s own spread over seeds, is "
            f"{plain(study.noise_floor, 4)} nats per token (one standard deviation)."
        )
    intervals = sum(v.interval is not None for v in exact)
    if intervals > 2:
        sentences.append(
            f"The intervals are 95 % each: of {in_words(intervals)}, the chance that at least one misses is "
            f"up to {percent(min(1.0, intervals * 0.05))}."
        )
    return sentences


def _tokens_per_parameter(ratio: float | None) -> str:
    if ratio is None:
        return ""
    start = f"The baseline saw {_ratio(ratio)} tokens per non-embedding parameter:"
    if ratio < 15:
        return f"{start} well under 20, an under-trained regime in which almost anything that grows looks good."
    if ratio <= 30:
        return f"{start} near the 20 that is compute-optimal."
    return f"{start} above the compute-optimal 20, over-trained, where the gains of growing shrink."


def _size(parameters: float | None) -> str:
    if parameters is None:
        return ""
    if parameters < 2e7:
        return f"The model has {count(parameters)} parameters; one this small says little about a large one."
    if parameters < 1e9:
        return f"The model has {count(parameters)} parameters; larger ones may behave differently."
    return f"The model has {count(parameters)} parameters."


def _annealed(study: Study) -> str:
    marks = [m for arm in study.arms for m in arm.marks if m.accounting == "flops"]
    if not marks:
        return ""
    undecayed = [a.name for a in study.arms if any(m.accounting == "flops" and not m.annealed for m in a.marks)]
    if not undecayed:
        return "Every point compared ends a run whose learning rate was fully decayed."
    who = "No point compared" if len(undecayed) == len(study.arms) else f"Not every point of {join(undecayed)}"
    verb = "had" if who.startswith("No point") else "has"
    return f"{who} {verb} a fully decayed learning rate: an undecayed curve is no result, only a hint."


def _epochs(epochs: float | None) -> str:
    if epochs is None or epochs <= 1.005:
        return ""
    times = f"{_ratio(epochs)} times over"
    return f"The longest arm read its data {times}: repeated tokens teach less than fresh ones."


def exact_share(study: Study, verdict: Verdict) -> float | None:
    """The exact FLOPs an arm had spent at a mark, over the baseline’s."""
    arm, base = study.arm(verdict.arm), study.baseline_mark
    mark = next((m for m in arm.marks if m.accounting == verdict.accounting), None) if arm else None
    return mark.flops / base.flops if mark and base and base.flops else None


def interval_text(pair: tuple[float, float] | None, places: int) -> str:
    """An interval of differences: −0.041 to −0.020."""
    return f"{signed(pair[0], places)} to {signed(pair[1], places)}" if pair else ""


def multiplier_interval_text(verdict: Verdict) -> str:
    """An interval of multipliers, its ends marked where they are only bounds: below 0.70 to 1.34."""
    if verdict.multiplier_interval is None:
        return ""
    words = {"above": "above ", "below": "below ", None: ""}
    ends = zip(verdict.multiplier_interval_bounds, verdict.multiplier_interval, strict=True)
    return " to ".join(f"{words[bound]}{plain(value, 2)}" for bound, value in ends)


def _times(verdict: Verdict) -> str:
    bound = {"above": "more than ", "below": "less than "}.get(verdict.multiplier_bound or "", "")
    pair = multiplier_interval_text(verdict)
    interval = f" (95 % interval {pair})" if pair and not bound else ""
    return f"{bound}{plain(verdict.multiplier, 2)} times{interval}"


def _listed(verdicts: Sequence[Verdict], places: int) -> str:
    shown = []
    for verdict in verdicts[:MAX_NAMED]:
        interval = f", 95 % interval {interval_text(verdict.interval, places)}" if verdict.interval else ""
        shown.append(f"{verdict.arm} ({signed(verdict.difference, places)}{interval})")
    more = len(verdicts) - len(shown)
    return join([*shown, plural(more, "more arm")] if more else shown)


def _missing(study: Study, exact: Sequence[Verdict]) -> list[str]:
    done = {v.arm for v in exact}
    return [arm.name for arm in study.arms if not arm.is_baseline and arm.name not in done]


def _with(verdicts: Sequence[Verdict], outcome: str) -> list[Verdict]:
    return [v for v in verdicts if v.outcome == outcome]


def _verb(group: Sequence[Verdict], verb: str) -> str:
    return {"beat": "beats", "do": "does"}[verb] if len(group) == 1 else verb


def _integer(value: object) -> str:
    return f"{number(value) or 0:.0f}"


def _ratio(value: float) -> str:
    return plain(value, 1) if value < 9.95 else plain(value, 0)
