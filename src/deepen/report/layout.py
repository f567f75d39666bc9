"""Axes, ranges, order of rows and labels, shared by the page and the static figures."""

import math

import numpy as np

from deepen.compute.accounting import PAPER, TOKENS, AtBudget
from deepen.evaluate.registry import TASKS
from deepen.report.summary.study_summary import ArmSummary, StudySummary
from deepen.report.units import count, cut, done_percent, power
from deepen.study.results.schema import Verdict

AXES = {"tokens": "tokens", "flops": "exact FLOPs", "seconds": "seconds"}
LOSSES = {"val": "validation loss", "train": "training loss"}


def loss_title(study: StudySummary, kind: str) -> str:
    """The title of an axis of losses, `val` or `train`, with the text on which they are drawn."""
    if kind != "val" or not study.draws_marks_on_curve_text:
        return f"{LOSSES[kind]} (nats per token)"
    return f"{LOSSES[kind]} (nats, first {count(study.regime.data.validation_tokens or 0)} tokens)"


def choose_unit(axis: str, top: float) -> tuple[float, str]:
    """A divisor that keeps the tick labels of an axis short, and the label of the axis with the unit.

    Args:
        axis: one of `AXES`.
        top: the largest value on it.
    """
    exponent = 3 * max(0, math.floor(math.log10(top) / 3)) if top > 0 else 0
    name = AXES[axis]
    if axis == "seconds" and top >= 7200:
        return 3600.0, "hours"
    if axis == "seconds" or not exponent:
        return 1.0, name
    words = {3: "thousand tokens", 6: "million tokens", 9: "billion tokens", 12: "trillion tokens"}
    if axis == "tokens" and exponent in words:
        return 10.0**exponent, words[exponent]
    return 10.0**exponent, f"{name} (× {power(exponent)})"


def task_title(task: str) -> str:
    """The title of a task; its name if the task is unknown."""
    return TASKS[task].title if task in TASKS else task


def task_unit(task: str) -> tuple[float, str]:
    """The factor from a task's value to what is shown, and the label of its axis: shares are shown in percent."""
    metric = TASKS[task].metric if task in TASKS else "accuracy"
    if "accuracy" in metric:
        return 100.0, f"{task_title(task)} {metric} (%)"
    return 1.0, f"{task_title(task)} {metric}"


def chance_level(task: str) -> float | None:
    """The accuracy of random guesses; None if the task is unknown."""
    return TASKS[task].chance if task in TASKS else None


def legend_label(name: str, max_length: int = 22) -> str:
    """The name of an arm in a legend or on an axis."""
    label = cut(name, max_length)
    return f" {label}" if label.startswith("_") else label  # matplotlib omits labels that start with an underscore


def arm_label(arm: ArmSummary, max_length: int = 22) -> str:
    """The name of an arm in a legend, with its progress if it is unfinished."""
    label, share = legend_label(arm.name, max_length), arm.trained_share
    return label if share is None or share >= 1 else f"{label}, {done_percent(share)} trained"


def loss_window(study: StudySummary, kind: str) -> tuple[float, float] | None:
    """The range of losses to show, without the start of training, so that the ends of the curves are
    distinguishable.

    Args:
        study: the study.
        kind: `val` or `train`.

    Returns:
        None if nothing was measured.
    """
    lines = [line for arm in study.arms for line in (arm.curve, *arm.tails)]
    curves = [[loss for point in line if (loss := point.drawn_loss(kind))] for line in lines]
    marks = [loss for arm in study.arms for mark in arm.marks if (loss := mark.drawn_loss(kind))]
    shown = [loss for curve in curves for loss in curve] + marks
    if not shown:
        return None
    low = min(loss.low for loss in shown)
    # Ends of curves are shown up to the 95th percentile, so that a diverged arm does not flatten the others.
    high, rare = (float(np.quantile([loss.mean for loss in shown], share)) for share in (0.70, 0.95))
    ends = [curve[-1].high for curve in curves if curve] + [loss.high for loss in marks]
    high = max([high, *(end for end in ends if end <= rare)])
    margin = 0.04 * (high - low) if high > low else 0.01
    return low - margin, high + margin


def sort_verdicts(study: StudySummary) -> list[Verdict]:
    """The verdicts at the study's budget, in the order of the arms; then those at each other budget, rising."""
    order = {arm.name: i for i, arm in enumerate(study.arms)}

    def position(v: Verdict) -> tuple[bool, float, int, bool]:
        other = 0.0 if v.is_whole_budget else v.budget_share or 1.0
        return not v.is_whole_budget, other, order.get(v.arm, len(order)), not v.is_exact

    return sorted(filter(study.shows, study.verdicts), key=position)


def difference_range(study: StudySummary) -> tuple[float, float]:
    """The range of a plot of differences.

    It includes zero, the differences that the study cannot tell from it, and all means; very wide intervals and
    distant seeds are clipped.
    """
    compared = [v for v in study.verdicts if v.difference is not None]
    half_width = study.noise.half_width or 0.0
    reach = 2 * max([abs(v.difference or 0.0) for v in compared] + [half_width])
    ends = [-1.1 * half_width, 1.1 * half_width]
    for verdict in compared:
        shown = (*(verdict.interval or ()), *verdict.differences, verdict.difference or 0.0)
        ends += [min(max(end, -reach), reach) for end in shown]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) if high > low else 0.01
    return low - margin, high + margin


def accounting_note(verdict: AtBudget) -> str:
    """The label of a mark; empty for the mark at equal exact FLOPs and the study's budget."""
    if verdict.is_exact:
        return "" if verdict.is_whole_budget else f"at {verdict.budget_share:.2f} × the budget"
    names = {PAPER: "the paper’s mark", TOKENS: "equal tokens"}
    return names.get(verdict.accounting, f"{verdict.accounting} mark")
