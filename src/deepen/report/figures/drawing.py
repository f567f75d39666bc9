"""What the figures of losses and of tasks have in common: lines with seed bands, circles at marks, the legend."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepen.compute.accounting import PAPER
from deepen.report.layout import LOSSES, arm_label
from deepen.report.style import LINE_STYLES
from deepen.report.summary.averages import AveragedMark, AveragedPoint, SeedRange
from deepen.report.summary.study_summary import ArmSummary, StudySummary

Position = Callable[[AveragedPoint], float]

MarkValue = Callable[[AveragedMark], float | None]
"""The value of a mark in a figure; None if it was not measured there."""


def arm_handles(arms: Sequence[ArmSummary]) -> list[Line2D]:
    """The lines of arms in a legend."""
    return [Line2D([], [], color=arm.colour, linestyle=LINE_STYLES[arm.dash], lw=2) for arm in arms]


def draw_legend(figure: Figure, study: StudySummary) -> None:
    """Draw the legend of all arms and circles below a figure."""
    arms = [arm for arm in study.arms if arm.curve or arm.marks]
    handles = arm_handles(arms)
    labels = [arm_label(arm) for arm in arms]
    marks = [mark for arm in arms for mark in arm.marks]
    dot: dict[str, Any] = {"marker": "o", "color": "#555555", "linestyle": "none"}
    if any(mark.is_exact for mark in marks):
        handles.append(Line2D([], [], markersize=7, **dot))
        labels.append("end of the run" if study.is_single_arm else "equal exact FLOPs")
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


def draw_curve(axes: Axes, arm: ArmSummary, position: Position, kind: str) -> None:
    """Draw the mean over seeds as a line, the range of seeds as a band, and the ends of unfinished runs."""
    style = {"color": arm.colour, "linestyle": LINE_STYLES[arm.dash]}
    points = measured(arm.curve, position, kind)
    xs = [x for x, _ in points]
    axes.fill_between(
        xs, [loss.low for _, loss in points], [loss.high for _, loss in points], color=arm.colour, alpha=0.16, lw=0
    )
    axes.plot(xs, [loss.mean for _, loss in points], lw=1.9 if arm.is_baseline else 1.4, **style)
    for tail in arm.tails:
        points = measured(tail, position, kind)
        axes.plot([x for x, _ in points], [loss.mean for _, loss in points], lw=0.7, **style)
    for x, loss in measured(arm.ends(kind), position, kind):
        axes.plot([x], [loss.mean], ">", color=arm.colour, markersize=6, clip_on=False, zorder=4)


def draw_marks(axes: Axes, arm: ArmSummary, position: Position, value: MarkValue) -> None:
    """Draw large circles at equal exact FLOPs, open ones at other accountings, small ones at other budgets."""
    points = [(mark, position(mark), y) for mark in arm.marks if (y := value(mark)) is not None]
    budgets = sorted((x, y) for mark, x, y in points if mark.is_exact)
    if len(budgets) > 1 and arm.is_baseline:  # the compute multiplier is read from this dotted line
        axes.plot(*zip(*budgets, strict=True), color=arm.colour, linestyle=":", lw=1, zorder=3)
    for mark, x, y in points:
        is_small = mark.is_exact and not mark.is_whole_budget
        axes.plot(
            [x],
            [y],
            "o",
            markersize=3.5 if is_small else 7,
            markerfacecolor=arm.colour if mark.is_exact else "white",
            markeredgecolor=arm.colour if is_small or not mark.is_exact else "white",
            markeredgewidth=0.8 if mark.is_exact else 1.4,
            zorder=4,
        )


def measured(points: Sequence[AveragedPoint], position: Position, kind: str) -> list[tuple[float, SeedRange]]:
    """The points at which a loss was measured: their positions, and the losses."""
    return [(position(point), loss) for point in points if (loss := point.drawn_loss(kind))]
