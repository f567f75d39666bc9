"""The interactive figures as plain plotly JSON: every trace carries its values for each axis, the page picks.

Plotly reads a few HTML tags in names and hover text, so every string of the study is escaped for it here; the
page escapes the JSON as a whole once more for HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from deepen.report.layout import CHANCE, loss_window, shortened, task_title
from deepen.report.results import Arm, Band, Mark, Point, Study, is_whole_budget
from deepen.report.units import count, duration, plain, scientific

Trace = dict[str, Any]
AXES = {"tokens": "tokens", "flops": "exact FLOPs", "seconds": "seconds"}
LOSSES = {"val": "validation loss", "train": "training loss"}


def loss_chart(study: Study) -> dict[str, Any]:
    """Loss curves: traces, the y window of each loss, the equal-compute budget, axis titles."""
    traces: list[Trace] = []
    for rank, arm in reversed(list(enumerate(study.arms))):  # the baseline is drawn last, so on top
        traces += _bands_and_line(arm, rank)
    for arm in reversed(study.arms):
        traces += _mark_traces(arm)
    mark = study.baseline_mark
    return {
        "traces": traces,
        "axes": AXES,
        "losses": {key: f"{name} (nats per token)" for key, name in LOSSES.items()},
        "windows": {key: loss_window(study, key) for key in LOSSES},
        "budget_flops": mark.flops if mark else None,
    }


def task_chart(study: Study, task: str) -> dict[str, Any]:
    """A task's accuracy against steps, with standard errors over its examples."""
    traces = []
    for index, arm in enumerate(study.arms):
        points = arm.tasks.get(task, ())
        if not points:
            continue
        errors = [None if p.stderr is None else 100 * p.stderr for p in points]
        texts = [
            f"{_bold(arm.name)}<br>{100 * p.value:.2f} %"
            + (f" ± {100 * p.stderr:.2f} (standard error)" if p.stderr is not None else "")
            + f"<br>step {p.step:,.0f}"
            for p in points
        ]
        traces.append(
            _base(arm)
            | {
                "x": [p.step for p in points],
                "y": [100 * p.value for p in points],
                "error_y": {"type": "data", "array": errors, "thickness": 1, "width": 0},
                "mode": "lines+markers",
                "line": {"color": arm.colour, "dash": arm.dash, "width": 2},
                "marker": {"size": 6},
                "text": texts,
                "legendrank": index,
            }
        )
    chance = CHANCE.get(task)
    title = f"{escape(task_title(task), quote=False)} accuracy (%)"
    return {"traces": traces, "title": title, "chance": None if chance is None else 100 * chance}


def _base(arm: Arm) -> Trace:
    return {
        "type": "scatter",
        "name": escape(shortened(arm.name, 30), quote=False),
        "legendgroup": escape(arm.name, quote=False),
        "hovertemplate": "%{text}<extra></extra>",
        "hoverlabel": {"bordercolor": arm.colour},
    }


def _bold(name: str) -> str:
    return f"<b>{escape(name, quote=False)}</b>"


def _bands_and_line(arm: Arm, rank: int) -> list[Trace]:
    """The shaded span over seeds and the mean line; `values` holds both losses on all three axes."""
    band, line = {}, {}
    for key in LOSSES:
        points = [p for p in arm.curve if getattr(p, key) is not None]
        bands: list[Band] = [getattr(p, key) for p in points]
        there_and_back = [*points, *reversed(points)]
        edges = [b.high for b in bands] + [b.low for b in reversed(bands)]
        band[key] = _xs(there_and_back) | {"y": edges}
        line[key] = _xs(points) | {"y": [b.mean for b in bands], "text": [_hover(arm, p, "") for p in points]}
    shaded = _base(arm) | {
        "mode": "lines",
        "fill": "toself",
        "fillcolor": _faint(arm.colour),
        "line": {"width": 0},
    }
    shaded |= {"hoverinfo": "skip", "showlegend": False, "values": band}
    shaded.pop("hovertemplate")
    drawn = {"color": arm.colour, "dash": arm.dash, "width": 3 if arm.is_baseline else 2}
    traces = [_base(arm) | {"mode": "lines", "line": drawn, "values": line, "legendrank": rank}]
    return ([shaded] if len(arm.seeds) > 1 else []) + traces


def _mark_traces(arm: Arm) -> list[Trace]:
    """Solid circles at equal exact FLOPs, open ones at other accountings, small ones at other budgets."""
    exact = sorted((m for m in arm.marks if m.accounting == "flops"), key=lambda m: m.flops)
    groups: list[tuple[Sequence[Mark], str, dict[str, Any]]] = [
        ([m for m in exact if is_whole_budget(m)], "at equal exact FLOPs", _circle(arm, 15)),
        (
            [m for m in arm.marks if m.accounting != "flops"],
            "at the paper’s own mark",
            _circle(arm, 14, hollow=True),
        ),
    ]
    if len(exact) > 1:  # the dotted line is the one the compute multiplier is read from
        sizes = [0 if is_whole_budget(m) else 7 for m in exact]
        groups.insert(0, (exact, "at another budget", {"color": arm.colour, "size": sizes, "opacity": 1}))
    traces = []
    for marks, where, marker in groups:
        if not marks:
            continue
        values = {}
        for key in LOSSES:
            known = [m for m in marks if getattr(m, key) is not None]
            text = [_hover(arm, m, where if m.annealed else f"{where}, learning rate not decayed") for m in known]
            values[key] = _xs(known) | {"y": [getattr(m, key).mean for m in known], "text": text}
        dotted = len(marks) > 1 and marks is exact
        line = {"mode": "lines+markers", "line": {"color": arm.colour, "dash": "dot", "width": 1.2}}
        style = line if dotted else {"mode": "markers"}
        traces.append(_base(arm) | style | {"marker": marker, "showlegend": False, "values": values})
    return traces


def _circle(arm: Arm, size: int, hollow: bool = False) -> dict[str, Any]:
    if hollow:
        return {"color": "#ffffff", "size": size, "line": {"color": arm.colour, "width": 2.4}, "opacity": 1}
    return {"color": arm.colour, "size": size, "line": {"color": "#ffffff", "width": 1.2}, "opacity": 1}


def _xs(points: Sequence[Point]) -> dict[str, list[Any]]:
    return {axis: [getattr(p, axis) for p in points] for axis in AXES}


def _hover(arm: Arm, point: Point, where: str) -> str:
    lines = [_bold(arm.name) + (f", {where}" if where else "")]
    for key, name in LOSSES.items():
        band: Band | None = getattr(point, key)
        if band:
            over = f" ({plain(band.low)} to {plain(band.high)} over seeds)" if band.high > band.low else ""
            lines.append(f"{name} {plain(band.mean)}{over}")
    lines.append(f"{count(point.tokens)} tokens · {scientific(point.flops)} FLOPs · {duration(point.seconds)}")
    place = [escape(point.phase, quote=False)] if point.phase else []
    place += [f"{point.depth} blocks deep"] if point.depth is not None else []
    return "<br>".join([*lines, ", ".join(place)]) if place else "<br>".join(lines)


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
