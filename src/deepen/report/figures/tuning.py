"""Loss against learning rate for every arm and every constant depth: small multiples with one scale of losses.

Positions are pixels of a panel. A trial whose loss is far above the others' is drawn at the upper edge.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from deepen.report.style import UNKNOWN_COLOUR
from deepen.report.summary.study_summary import StudySummary
from deepen.report.units import counted, cut, fixed
from deepen.study.results.tuning import TrialResult, TunedArm

PANEL_WIDTH, PANEL_HEIGHT = 200, 112
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 180, 10, 90

MAX_QUANTILE = 0.9
"""The quantile of all losses up to which they are drawn to scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTrial:
    """A trial in a panel; `is_above`: its loss is above the range."""

    x: float
    y: float
    is_above: bool
    is_chosen: bool
    is_refined: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLine:
    """The trials of an arm with the same options, joined in the order of their rates, as an SVG path."""

    path: str
    has_chosen: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The trials of an arm.

    Attributes:
        name: the arm's name.
        colour: its colour.
        lines, trials: the drawing.
        rates: positions and labels of the lowest, the chosen and the highest rate.
        choice: the choice in words.
        warning: why the choice is in doubt; empty if it is not.
        is_best_fixed_depth: whether it is the second baseline.
    """

    name: str
    colour: str
    lines: tuple[TrialLine, ...]
    trials: tuple[DrawnTrial, ...]
    rates: tuple[tuple[float, str], ...]
    choice: str
    warning: str
    is_best_fixed_depth: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPanels:
    """The panels of a study. `levels` are positions and labels of lines of equal loss."""

    panels: tuple[Panel, ...]
    levels: tuple[tuple[float, str], ...]


def draw_tuning(study: StudySummary) -> TuningPanels:
    """The panels of all arms and depths with finished trials."""
    arms = find_tuned(study)
    if not arms:
        return TuningPanels(panels=(), levels=())
    scale = _Scale(*loss_range(arms))
    rates = [trial.peak or 0.0 for arm in arms for trial in finished_trials(arm)]
    return TuningPanels(
        panels=tuple(_draw_panel(study, arm, scale, (min(rates), max(rates))) for arm in arms),
        levels=tuple((scale.y(level), label) for level, label in scale.levels()),
    )


def find_tuned(study: StudySummary) -> list[TunedArm]:
    """The arms and depths with finished trials."""
    return [arm for arm in (study.tuning.arms if study.tuning else ()) if finished_trials(arm)]


def sort_trials(arm: TunedArm) -> list[TrialResult]:
    """The finished trials of an arm, by options and then by rate."""
    return sorted(finished_trials(arm), key=lambda trial: (name_options(trial.options), trial.peak or 0.0))


def finished_trials(arm: TunedArm) -> list[TrialResult]:
    """The trials of an arm whose loss and rate are known."""
    return [trial for trial in arm.trials if trial.loss is not None and (trial.peak or 0) > 0]


def loss_range(arms: Sequence[TunedArm]) -> tuple[float, float]:
    """The range of losses to show: all chosen trials, and most of the others."""
    losses = [float(trial.loss) for arm in arms for trial in finished_trials(arm) if trial.loss is not None]
    low, high = min(losses), float(np.quantile(losses, MAX_QUANTILE))
    high = max([high, *(arm.chosen.loss or low for arm in arms if arm.chosen)])
    margin = 0.08 * (high - low) if high > low else max(0.01, 1e-6 * abs(high))
    return low - margin, high + margin


class _Scale:
    """The range of losses, mapped to pixels."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def y(self, loss: float) -> float:
        """The position of a loss; one above the range is drawn at the edge."""
        share = (min(loss, self.high) - self.low) / (self.high - self.low)
        return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)

    def levels(self) -> list[tuple[float, str]]:
        """Round losses in the range, two to four, with labels."""
        widest = (self.high - self.low) / 2
        power = 10.0 ** math.floor(math.log10(widest))
        step = next(factor * power for factor in (5, 2, 1) if factor * power <= widest)
        places = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(nth * step, fixed(nth * step, places)) for nth in range(first, last + 1)]


def _draw_panel(study: StudySummary, arm: TunedArm, scale: _Scale, rates: tuple[float, float]) -> Panel:
    shown, chosen = study.find_arm(arm.name), arm.chosen

    def x(peak: float) -> float:
        lowest, highest = math.log(rates[0]), math.log(rates[1])
        share = (math.log(peak) - lowest) / (highest - lowest) if highest > lowest else 0.5
        return round(_LEFT + (_RIGHT - _LEFT) * share, 1)

    def place(trial: TrialResult) -> tuple[float, float]:
        assert trial.peak is not None and trial.loss is not None
        return x(trial.peak), scale.y(trial.loss)

    finished = sort_trials(arm)
    lines = []
    for options, group in groupby(finished, key=lambda trial: name_options(trial.options)):
        trials = list(group)
        path = "L".join(f"{left} {top}" for left, top in map(place, trials))
        lines.append(TrialLine(path=f"M{path}", has_chosen=chosen in trials, title=options))
    ends = sorted({trial.peak for trial in finished if trial.peak})
    first = [chosen.peak] if chosen and chosen.peak and chosen.peak > 0 else []
    labelled = dict.fromkeys([*first, ends[0], ends[-1]])
    return Panel(
        name=arm.name,
        colour=shown.colour if shown else UNKNOWN_COLOUR,
        lines=tuple(lines),
        trials=tuple(
            DrawnTrial(
                x=place(trial)[0],
                y=place(trial)[1],
                is_above=(trial.loss or 0.0) > scale.high,
                is_chosen=trial == chosen,
                is_refined=trial.refined,
                title=_describe_trial(trial),
            )
            for trial in finished
        ),
        rates=_without_overlap([(x(peak), f"{peak:.2g}") for peak in labelled]),
        choice=_describe_choice(arm),
        warning=_describe_warning(arm),
        is_best_fixed_depth=arm.is_best_fixed_depth,
    )


def _without_overlap(labels: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """The labels that fit beside those before them, from left to right."""
    kept: list[tuple[float, str]] = []
    for place, text in labels:
        if all(abs(place - other) > 44 for other, _ in kept):
            kept.append((place, text))
    return tuple(sorted(kept))


def name_options(options: Mapping[str, object]) -> str:
    """Options with their values in a line."""
    return ", ".join(f"{name} {value}" for name, value in sorted(options.items()))


def _describe_trial(trial: TrialResult) -> str:
    options = name_options(trial.options)
    own = f", {cut(options, 80)}" if options else ""
    seeds = f" over {counted(len(trial.losses), 'seed')}" if trial.losses else ""
    refined = ", added beside the best" if trial.refined else ""
    return f"peak {trial.peak:g}{own}: loss {fixed(trial.loss, 4)}{seeds}{refined}"


def _describe_choice(arm: TunedArm) -> str:
    chosen, trials = arm.chosen, counted(len(finished_trials(arm)), "trial")
    if chosen is None or chosen.peak is None:
        return f"open, {trials} so far"
    options = name_options(chosen.options)
    return f"chosen: {chosen.peak:.3g}{f', {cut(options, 60)}' if options else ''}, of {trials}"


def _describe_warning(arm: TunedArm) -> str:
    if arm.at_edge:
        return "the rate is at the edge of what was tried: no multiplier is claimed"
    if arm.options_at_edge:
        return f"{cut(', '.join(arm.options_at_edge), 60)} at the edge of what was tried"
    return ""
