"""The figures of the excess loss since growth: static, and as plotly's JSON for the page."""

from collections.abc import Sequence
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepen.report.figures.drawing import arm_handles
from deepen.report.layout import choose_unit, legend_label
from deepen.report.style import LINE_STYLES
from deepen.report.summary.excess import PANELS, ArmExcess, ExcessPoint
from deepen.report.summary.study_summary import ArmSummary, StudySummary
from deepen.report.units import count, signed

AXIS = "excess loss (nats per token)"


def draw_excess(study: StudySummary) -> Figure:
    """The excess of all arms that grew, against tokens since growth, at equal tokens and at equal compute."""
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(PANELS), sharex=True)
    drawn = find_arms(study)
    curves = [curve for _, excess in drawn for curve in excess.curves.values()]
    top = max((point.tokens for curve in curves for point in curve), default=0.0)
    divisor, unit = choose_unit("tokens", top)
    for axes, (panel, title) in zip(panels, PANELS.items(), strict=True):
        axes.axhline(0, color="#1a1a1a", lw=1)
        for arm, excess in reversed(drawn):
            _draw_curve(axes, arm, excess.curves[panel], divisor)
        axes.set_title(title)
        axes.set_xlabel(f"{unit} since growth")
        axes.set_xlim(left=0)
    panels[0].set_ylabel(AXIS)
    arms = [arm for arm, _ in drawn]
    labels = [legend_label(arm.name) for arm in arms]
    figure.legend(arm_handles(arms), labels, loc="outside lower left", ncols=4, columnspacing=1.6)
    return figure


def find_arms(study: StudySummary) -> list[tuple[ArmSummary, ArmExcess]]:
    """The arms that grew, each with its excess."""
    return [(arm, excess) for excess in study.excess if (arm := study.find_arm(excess.arm))]


def _draw_curve(axes: Axes, arm: ArmSummary, points: Sequence[ExcessPoint], divisor: float) -> None:
    """A line up to the decay of a rate, then a faint one; the range over seeds as a band."""
    style: dict[str, Any] = {"color": arm.colour, "linestyle": LINE_STYLES[arm.dash]}
    xs = [point.tokens / divisor for point in points]
    low, high = [point.loss.low for point in points], [point.loss.high for point in points]
    axes.fill_between(xs, low, high, color=arm.colour, alpha=0.12, lw=0)
    axes.plot(xs, [point.loss.mean for point in points], lw=0.8, alpha=0.5, **style)
    before = [point for point in points if point.is_before_decay]
    axes.plot([point.tokens / divisor for point in before], [point.loss.mean for point in before], lw=1.7, **style)


def excess_chart(study: StudySummary, panel: str) -> dict[str, Any]:
    """The traces of one of `PANELS`, with the line at zero."""
    return {
        "traces": [
            trace
            for rank, (arm, excess) in enumerate(find_arms(study))
            for trace in _traces(arm, excess.curves[panel], rank)
        ],
        "x": "tokens since growth",
        "title": AXIS,
        "line": {"y": 0, "label": "equal to full training"},
    }


def _traces(arm: ArmSummary, points: Sequence[ExcessPoint], rank: int) -> list[dict[str, Any]]:
    """The whole curve, faint, and the part before any decay."""
    before = [point for point in points if point.is_before_decay]
    return [
        _trace(arm, points, rank) | {"opacity": 0.4, "line": _line(arm, 1), "showlegend": not before},
        _trace(arm, before, rank) | {"line": _line(arm, 2.4), "showlegend": bool(before)},
    ]


def _line(arm: ArmSummary, width: float) -> dict[str, Any]:
    return {"color": arm.colour, "dash": arm.dash, "width": width}


def _trace(arm: ArmSummary, points: Sequence[ExcessPoint], rank: int) -> dict[str, Any]:
    name = escape(arm.name, quote=False)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "marker": {"size": 5},
        "name": escape(legend_label(arm.name, 30), quote=False),
        "legendgroup": name,
        "legendrank": rank,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverlabel": {"bordercolor": arm.colour},
        "x": [point.tokens for point in points],
        "y": [point.loss.mean for point in points],
        "text": [
            f"<b>{name}</b><br>{signed(point.loss.mean)} nats, {count(point.tokens)} tokens after growth"
            for point in points
        ],
    }
