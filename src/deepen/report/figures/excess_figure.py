"""The figures of the excess loss since growth: static, and as plotly's JSON for the page."""

from collections.abc import Sequence
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepen.report.figures.drawing import arm_handles
from deepen.report.layout import choose_unit, legend_label
from deepen.report.style import LINE_STYLES, UNKNOWN_COLOUR
from deepen.report.summary.excess import PANELS, ArmExcess, ExcessAtEnd, ExcessPoint
from deepen.report.summary.study_summary import ArmSummary, StudySummary
from deepen.report.units import count, signed
from deepen.study.results.schema import Interval

AXIS = "excess loss (nats per token)"

_LEGEND: dict[str, dict[str, Any]] = {
    "before a decay; band: all seeds": {"lw": 1.7},
    "after one": {"lw": 0.8, "alpha": 0.5},
    "end of a run, both decayed, joint interval": {"ls": "none", "marker": "D", "ms": 6},
    "the same with another budget": {"ls": "none", "marker": "D", "ms": 4, "mfc": "#ffffff"},
}


def draw_excess(study: StudySummary) -> Figure:
    """The excess of all arms that grew, against tokens since growth, at equal tokens and at equal compute."""
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(PANELS), sharex=True)
    drawn = find_arms(study)
    curves = [curve for _, excess in drawn for curve in excess.curves.values()]
    ends = [end.tokens for _, excess in drawn for end in excess.ends]
    top = max([*(point.tokens for curve in curves for point in curve), *ends], default=0.0)
    divisor, unit = choose_unit("tokens", top)
    for axes, (panel, title) in zip(panels, PANELS.items(), strict=True):
        axes.axhline(0, color="#1a1a1a", lw=1)
        for arm, excess in reversed(drawn):
            _draw_curve(axes, arm, excess.curves[panel], divisor)
            _draw_ends(axes, arm, _ends(excess, panel), divisor)
        axes.set_ylim(_find_range([excess for _, excess in drawn], panel))
        axes.set_title(title)
        axes.set_xlabel(f"{unit} since growth")
        axes.set_xlim(0, 1.03 * top / divisor or None)
    panels[0].set_ylabel(AXIS)
    arms = [arm for arm, _ in drawn]
    labels = [*(legend_label(arm.name) for arm in arms), *_LEGEND]
    handles = [*arm_handles(arms), *(Line2D([], [], color=UNKNOWN_COLOUR, **style) for style in _LEGEND.values())]
    figure.legend(handles, labels, loc="outside lower left", ncols=3, columnspacing=1.6)
    return figure


def _find_range(drawn: Sequence[ArmExcess], panel: str) -> tuple[float, float]:
    """The losses that a panel shows: all but those after a decay, which the decay moves, and zero."""
    shown = [0.0]
    for excess in drawn:
        points = excess.before_decay(panel) or excess.curves[panel]
        shown += [end for point in points for end in (point.loss.low, point.loss.high)]
        shown += [end for each in _ends(excess, panel) for end in (each.difference, *(each.interval or ()))]
    margin = 0.05 * (max(shown) - min(shown)) or 0.01
    return min(shown) - margin, max(shown) + margin


def _ends(excess: ArmExcess, panel: str) -> Sequence[ExcessAtEnd]:
    """The ends of an arm's runs, which are at equal compute."""
    return excess.ends if panel == "compute" else ()


def _draw_ends(axes: Axes, arm: ArmSummary, ends: Sequence[ExcessAtEnd], divisor: float) -> None:
    for end in ends:
        x = end.tokens / divisor
        if end.interval is not None:
            axes.plot([x, x], end.interval, color=arm.colour, lw=1.2, zorder=3)
        size, fill = (6.0, arm.colour) if end.is_whole_budget else (4.0, "#ffffff")
        axes.plot([x], [end.difference], "D", ms=size, mfc=fill, mec=arm.colour, mew=1.0, zorder=4)


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
            for trace in (
                *_traces(arm, excess.curves[panel], rank),
                *_end_traces(arm, _ends(excess, panel)),
            )
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


def _end_traces(arm: ArmSummary, ends: Sequence[ExcessAtEnd]) -> list[dict[str, Any]]:
    """A diamond with its interval for each end of a run."""
    name = escape(arm.name, quote=False)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "legendgroup": name,
            "showlegend": False,
            "x": [end.tokens],
            "y": [end.difference],
            "text": [_describe_end(name, end)],
            "hovertemplate": "%{text}<extra></extra>",
            "hoverlabel": {"bordercolor": arm.colour},
            "marker": {
                "symbol": "diamond",
                "size": 11 if end.is_whole_budget else 8,
                "color": arm.colour if end.is_whole_budget else "#ffffff",
                "opacity": 1,
                "line": {"color": arm.colour, "width": 1.6},
            },
        }
        | (_error_bar(end.difference, end.interval, arm.colour) if end.interval else {})
        for end in ends
    ]


def _error_bar(value: float, interval: Interval, colour: str) -> dict[str, Any]:
    ends = {"array": [interval[1] - value], "arrayminus": [value - interval[0]]}
    return {"error_y": {"type": "data", "thickness": 1.4, "width": 4, "color": colour} | ends}


def _describe_end(name: str, end: ExcessAtEnd) -> str:
    budget = "at the study’s budget" if end.is_whole_budget else "at another budget"
    interval = f" ({signed(end.interval[0])} to {signed(end.interval[1])})" if end.interval else ""
    return f"<b>{name}</b>, end of its run {budget}<br>{signed(end.difference)} nats{interval}"


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
