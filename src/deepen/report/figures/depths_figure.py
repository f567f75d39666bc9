"""The figure of loss against depth: static, and as plotly's JSON for the page."""

from collections.abc import Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from deepen.report.figures.depths import DepthPoint, Depths
from deepen.report.layout import legend_label
from deepen.report.style import BASELINE_COLOUR
from deepen.report.units import fixed

DEPTH_AXIS = "depth in blocks, mean over the tokens"
LOSS_AXIS = "validation loss (nats per token)"
_TRIALS = "constant depths, seeds of the trials"
_OWN = "constant depths"


def depths_chart(depths: Depths) -> dict[str, Any]:
    """The traces: a line through constant depths for either kind of seeds, and a point for each arm."""
    traces = []
    if line := [point for point in depths.tuned if point.is_fixed]:
        traces.append(_line(line, _TRIALS, "dot") | {"mode": "lines+markers"})
    if len(line := [point for point in depths.measured if point.is_fixed]) > 1:
        traces.append(_line(line, _OWN, "solid"))
    grown = [point for point in depths.tuned if not point.is_fixed]
    traces += [_point(point, "seeds of the trials") | {"showlegend": False} for point in grown]
    traces += [_point(point, "") for point in depths.measured]
    reference = depths.reference
    label = "" if reference is None else f"lowest constant depth: {escape(reference.arm, quote=False)}"
    deepest = max((point.depth for point in (*depths.measured, *depths.tuned)), default=0.0)
    side = "left" if reference is not None and reference.depth > deepest / 2 else "right"  # away from its point
    return {
        "traces": traces,
        "x": DEPTH_AXIS,
        "title": LOSS_AXIS,
        "line": None if reference is None else {"y": reference.loss, "label": label, "side": side},
    }


def _line(points: Sequence[DepthPoint], name: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [point.depth for point in points],
        "y": [point.loss for point in points],
        "text": [_hover(point, name) for point in points],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": BASELINE_COLOUR, "dash": dash, "width": 1.2},
        "marker": {"color": "#ffffff", "size": 9, "line": {"color": BASELINE_COLOUR, "width": 1.6}},
    }


def _point(point: DepthPoint, seeds: str) -> dict[str, Any]:
    """An arm: a circle at a constant depth, else a diamond; filled where it is measured with the study's seeds."""
    name = escape(point.arm, quote=False)
    fill = "#ffffff" if seeds else point.colour
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": escape(legend_label(point.arm, 30), quote=False),
        "legendgroup": name,
        "x": [point.depth],
        "y": [point.loss],
        "text": [_hover(point, seeds)],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "symbol": "circle" if point.is_fixed else "diamond",
            "size": 11,
            "color": fill,
            "opacity": 1,
            "line": {"color": point.colour, "width": 1.8},
        },
    }
    if point.low is not None and point.high is not None:
        trace["error_y"] = {
            "type": "data",
            "array": [point.high - point.loss],
            "arrayminus": [point.loss - point.low],
            "thickness": 1.4,
            "width": 4,
            "color": point.colour,
        }
    return trace


def _hover(point: DepthPoint, seeds: str) -> str:
    name = f"<b>{escape(point.arm, quote=False)}</b>"
    return "<br>".join(filter(None, [f"{name}, {seeds}" if seeds else name, _describe(point)]))


def _describe(point: DepthPoint) -> str:
    depth = f"depth {point.depth:g}" if point.is_fixed else f"mean depth {point.depth:.1f}"
    interval = ""
    if point.low is not None and point.high is not None:
        interval = f" ({fixed(point.low)} to {fixed(point.high)})"
    return f"{depth}, loss {fixed(point.loss)}{interval}"


def draw_depths(depths: Depths) -> Figure:
    """The same figure for a paper."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for points, style, label in ((depths.tuned, ":", _TRIALS), (depths.measured, "-", _OWN)):
        line = [point for point in points if point.is_fixed]
        if len(line) > 1 or (line and style == ":"):
            axes.plot(
                [point.depth for point in line],
                [point.loss for point in line],
                linestyle=style,
                marker="o" if style == ":" else "",
                markerfacecolor="white",
                color=BASELINE_COLOUR,
                lw=1,
                ms=5,
                label=label,
            )
    for point in (point for point in depths.tuned if not point.is_fixed):
        axes.plot([point.depth], [point.loss], "D", ms=5, mfc="white", mec=point.colour, mew=1.2)
    for point in depths.measured:
        if point.low is not None and point.high is not None:
            axes.plot([point.depth] * 2, [point.low, point.high], color=point.colour, lw=1.2)
        marker = "o" if point.is_fixed else "D"
        label = legend_label(point.arm)
        axes.plot([point.depth], [point.loss], marker, ms=6, color=point.colour, label=label, ls="none")
    if depths.reference is not None:
        axes.axhline(depths.reference.loss, color="#777777", lw=0.8, ls="--", zorder=0)
    axes.set_xlim(left=0)
    axes.set_xlabel(DEPTH_AXIS)
    axes.set_ylabel(LOSS_AXIS)
    figure.legend(loc="outside lower left", ncols=3, columnspacing=1.6)
    return figure
