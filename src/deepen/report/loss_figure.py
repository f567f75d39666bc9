"""The static figures of losses: lines and seed bands of all arms, with circles at the marks."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepen.compute.accounting import PAPER
from deepen.report.averages import AveragedPoint, SeedRange
from deepen.report.forest import draw_forest
from deepen.report.layout import AXES, LOSSES, arm_label, loss_window
from deepen.report.style import LINE_STYLES
from deepen.report.summary import ArmSummary, StudySummary
from deepen.report.units import power

Position = Callable[[AveragedPoint], float]


def draw_losses(study: StudySummary, kind: str) -> Figure:
    """One loss (`val` or `train`) against tokens, exact FLOPs and seconds, side by side."""
    figure = Figure(figsize=(10.4, 4.0), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(AXES), sharey=True)
    for axes, axis in zip(panels, AXES, strict=True):
        _draw_loss(axes, study, axis, kind)
    panels[0].set_ylabel(f"{LOSSES[kind]} (nats per token)")
    _draw_legend(figure, study)
    return figure


def draw_overview(study: StudySummary) -> Figure:
    """Validation loss against compute beside the forest plot: the study in one picture."""
    figure = Figure(figsize=(8.0, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_loss(left, study, "flops", "val")
    left.set_ylabel("validation loss (nats per token)")
    left.set_title("Loss against compute; ● at equal compute")
    draw_forest(right, study)
    right.set_title("Against full training")
    _draw_legend(figure, study)
    return figure


def _draw_legend(figure: Figure, study: StudySummary) -> None:
    arms = [arm for arm in study.arms if arm.curve or arm.marks]
    handles = [Line2D([], [], color=arm.colour, linestyle=LINE_STYLES[arm.dash], lw=2) for arm in arms]
    labels = [arm_label(arm) for arm in arms]
    marks = [mark for arm in arms for mark in arm.marks]
    dot: dict[str, Any] = {"marker": "o", "color": "#555555", "linestyle": "none"}
    if any(mark.is_exact for mark in marks):
        handles.append(Line2D([], [], markersize=7, **dot))
        labels.append("equal exact FLOPs")
    if any(mark.accounting == PAPER for mark in marks):
        handles.append(Line2D([], [], markersize=7, markerfacecolor="white", **dot))
        labels.append("the paper’s own mark")
    if _has_other_budgets(study.baseline):
        handles.append(Line2D([], [], markersize=3.5, **(dot | {"linestyle": ":"})))
        labels.append("other budgets")
    if any(arm.ends(kind) for arm in arms for kind in LOSSES):
        handles.append(Line2D([], [], markersize=6, **(dot | {"marker": ">"})))
        labels.append("unfinished")
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=4, columnspacing=1.6)


def _has_other_budgets(baseline: ArmSummary | None) -> bool:
    marks = baseline.marks if baseline else ()
    return any(mark.is_exact and not mark.is_whole_budget for mark in marks)


def _draw_loss(axes: Axes, study: StudySummary, axis: str, kind: str) -> None:
    divisor, label = _choose_unit(study, axis)

    def position(point: AveragedPoint) -> float:
        return point.at(axis) / divisor

    for arm in reversed(study.arms):  # the baseline last, on top
        _draw_curve(axes, arm, position, kind)
    if axis == "flops" and study.baseline_mark:
        axes.axvline(position(study.baseline_mark), color="#bbbbbb", lw=0.8, zorder=1)
    for arm in reversed(study.arms):
        _draw_marks(axes, arm, position, kind)
    window = loss_window(study, kind)
    if window:
        axes.set_ylim(*window)
    else:
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center", color="#888888")
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.margins(x=0.03)


def _draw_curve(axes: Axes, arm: ArmSummary, position: Position, kind: str) -> None:
    """Draw the mean over seeds as a line, the range of seeds as a band, and the ends of unfinished runs."""
    style = {"color": arm.colour, "linestyle": LINE_STYLES[arm.dash]}
    points = _measured(arm.curve, position, kind)
    xs = [x for x, _ in points]
    axes.fill_between(
        xs, [loss.low for _, loss in points], [loss.high for _, loss in points], color=arm.colour, alpha=0.16, lw=0
    )
    axes.plot(xs, [loss.mean for _, loss in points], lw=1.9 if arm.is_baseline else 1.4, **style)
    for tail in arm.tails:
        points = _measured(tail, position, kind)
        axes.plot([x for x, _ in points], [loss.mean for _, loss in points], lw=0.7, **style)
    for x, loss in _measured(arm.ends(kind), position, kind):
        axes.plot([x], [loss.mean], ">", color=arm.colour, markersize=6, clip_on=False, zorder=4)


def _measured(points: Sequence[AveragedPoint], position: Position, kind: str) -> list[tuple[float, SeedRange]]:
    """The points at which a loss was measured: their positions, and the losses."""
    return [(position(point), loss) for point in points if (loss := point.loss(kind))]


def _draw_marks(axes: Axes, arm: ArmSummary, position: Position, kind: str) -> None:
    """Draw large circles at equal exact FLOPs, open ones at other accountings, small ones at other budgets."""
    marks = sorted((mark for mark in arm.marks if mark.loss(kind)), key=position)
    points = [(position(mark), loss.mean) for mark in marks if (loss := mark.loss(kind))]
    budgets = [point for mark, point in zip(marks, points, strict=True) if mark.is_exact]
    if len(budgets) > 1 and arm.is_baseline:  # the compute multiplier is read from this dotted line
        axes.plot(*zip(*budgets, strict=True), color=arm.colour, linestyle=":", lw=1, zorder=3)
    for mark, (x, mean) in zip(marks, points, strict=True):
        is_small = mark.is_exact and not mark.is_whole_budget
        axes.plot(
            [x],
            [mean],
            "o",
            markersize=3.5 if is_small else 7,
            markerfacecolor=arm.colour if mark.is_exact else "white",
            markeredgecolor=arm.colour if is_small or not mark.is_exact else "white",
            markeredgewidth=0.8 if mark.is_exact else 1.4,
            zorder=4,
        )


def _choose_unit(study: StudySummary, axis: str) -> tuple[float, str]:
    """A divisor that keeps tick labels short, and the axis label with the unit."""
    lines = [line for arm in study.arms for line in (arm.curve, *arm.tails, arm.marks)]
    values = [point.at(axis) for line in lines for point in line]
    top = max(values, default=0.0)
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
