"""The interactive figures, as plotly's JSON.

A trace of the loss figure has values for both losses and all three axes; the page's script selects from them.
Plotly interprets some HTML tags in names and hover text, so every string of the study is escaped here. The page
escapes the whole JSON again for HTML.
"""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any, TypeVar

from deepen.report.layout import (
    AXES,
    LOSSES,
    accounting_note,
    arm_label,
    chance_level,
    loss_title,
    loss_window,
    task_unit,
)
from deepen.report.summary.averages import AveragedMark, AveragedPoint, AveragedScore, SeedRange
from deepen.report.summary.study_summary import ArmSummary, StudySummary
from deepen.report.units import count, counted, duration, fixed, scientific

Trace = dict[str, Any]


def loss_chart(study: StudySummary) -> dict[str, Any]:
    """The losses of all arms: traces, range of each loss, budget of equal compute, axis titles."""
    traces: list[Trace] = []
    for rank, arm in reversed(list(enumerate(study.arms))):  # the baseline is drawn last, on top
        if len(arm.seeds) > 1:
            traces.append(_band_trace(arm))
        traces += [_line_trace(arm, tail, width=1) for tail in arm.tails]
        line = _line_trace(arm, arm.curve, width=3 if arm.is_baseline else 2)
        traces.append(line | {"showlegend": True, "legendrank": rank})
    for arm in reversed(study.arms):
        traces += _mark_traces(arm, _end_of_arm(study))
        traces += _end_traces(arm)
    mark = study.baseline_mark
    return {
        "traces": traces,
        "axes": AXES,
        "losses": {kind: loss_title(study, kind) for kind in LOSSES},
        "windows": {kind: loss_window(study, kind) for kind in LOSSES},
        "budget_flops": mark.flops if mark and not study.is_single_arm else None,
    }


def task_chart(study: StudySummary, task: str) -> dict[str, Any]:
    """The scores of all arms on a task against steps, with circles and standard errors at equal compute."""
    chance = chance_level(task)
    factor, label = task_unit(task)
    traces = [_task_trace(arm, task, rank) for rank, arm in enumerate(study.arms) if task in arm.tasks]
    circles = [trace for arm in study.arms for trace in _task_mark_traces(arm, task, _end_of_arm(study))]
    return {
        "traces": [*traces, *circles],
        "x": "step",
        "title": escape(label, quote=False),
        "line": None if chance is None else {"y": factor * chance, "label": f"chance, {factor * chance:g} %"},
    }


def _end_of_arm(study: StudySummary) -> str:
    """What the large circles are."""
    return "at the end" if study.is_single_arm else "at equal exact FLOPs"


def _task_trace(arm: ArmSummary, task: str, rank: int) -> Trace:
    """The scores along the run."""
    return _task_points(arm, task, arm.tasks[task]) | {
        "mode": "lines",
        "line": {"color": arm.colour, "dash": arm.dash, "width": 3 if arm.is_baseline else 2},
        "legendrank": rank,
    }


def _task_mark_traces(arm: ArmSummary, task: str, end: str) -> list[Trace]:
    """Large circles at equal exact FLOPs with standard errors over the examples, and open ones elsewhere."""
    traces = []
    for mark in arm.marks:
        if task not in mark.tasks or not mark.is_whole_budget:
            continue
        score, where = mark.tasks[task], end if mark.is_exact else f"at {accounting_note(mark)}"
        trace = _task_points(arm, task, [score], escape(where, quote=False)) | {
            "mode": "markers",
            "marker": _exact_circle(arm) if mark.is_exact else _open_circle(arm),
            "showlegend": False,
        }
        if mark.is_exact and score.stderr is not None:
            error = task_unit(task)[0] * score.stderr
            trace["error_y"] = {
                "type": "data",
                "array": [error],
                "thickness": 1.4,
                "width": 4,
                "color": arm.colour,
            }
        traces.append(trace)
    return traces


def _task_points(arm: ArmSummary, task: str, scores: Sequence[AveragedScore], where: str = "") -> Trace:
    factor, _ = task_unit(task)
    return _common(arm) | {
        "x": [score.step for score in scores],
        "y": [factor * score.value for score in scores],
        "text": [_task_hover(arm, score, factor, where) for score in scores],
    }


def _task_hover(arm: ArmSummary, score: AveragedScore, factor: float, where: str) -> str:
    unit = " %" if factor == 100 else ""
    error = "" if score.stderr is None else f" ± {factor * score.stderr:.2f} (standard error)"
    name = f"{_bold(arm.name)}, {where}" if where else _bold(arm.name)
    return f"{name}<br>{factor * score.value:.2f}{unit}{error}<br>step {score.step:,.0f}"


def _common(arm: ArmSummary) -> Trace:
    """The properties that all traces of an arm share."""
    return {
        "type": "scatter",
        "name": escape(arm_label(arm, 30), quote=False),
        "legendgroup": escape(arm.name, quote=False),
        "hovertemplate": "%{text}<extra></extra>",
        "hoverlabel": {"bordercolor": arm.colour},
    }


def _bold(name: str) -> str:
    return f"<b>{escape(name, quote=False)}</b>"


def _band_trace(arm: ArmSummary) -> Trace:
    """The shaded area between the lowest and the highest seed, as a closed line."""
    values = {}
    for kind in LOSSES:
        points, losses = _measured(arm.curve, kind)
        edges = [loss.high for loss in losses] + [loss.low for loss in reversed(losses)]
        values[kind] = _positions([*points, *reversed(points)]) | {"y": edges}
    trace = _common(arm) | {
        "mode": "lines",
        "fill": "toself",
        "fillcolor": _faint(arm.colour),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        "values": values,
    }
    del trace["hovertemplate"]
    return trace


def _line_trace(arm: ArmSummary, curve: Sequence[AveragedPoint], width: float) -> Trace:
    """The mean over seeds, or one seed."""
    values = {kind: _values(arm, *_measured(curve, kind)) for kind in LOSSES}
    line = {"color": arm.colour, "dash": arm.dash, "width": width}
    return _common(arm) | {"mode": "lines", "line": line, "values": values, "showlegend": False}


def _end_traces(arm: ArmSummary) -> list[Trace]:
    """Triangles where unfinished runs have got."""
    values = {kind: _values(arm, *_measured(arm.ends(kind), kind), "unfinished") for kind in LOSSES}
    if not any(each["y"] for each in values.values()):
        return []
    triangle = {"symbol": "triangle-right", "color": arm.colour, "size": 12, "opacity": 1}
    return [_common(arm) | {"mode": "markers", "marker": triangle, "values": values, "showlegend": False}]


def _values(
    arm: ArmSummary, points: Sequence[AveragedPoint], losses: Sequence[SeedRange], where: str = ""
) -> dict[str, list[Any]]:
    text = [_hover(arm, point, where) for point in points]
    return _positions(points) | {"y": [loss.mean for loss in losses], "text": text}


def _mark_traces(arm: ArmSummary, end: str) -> list[Trace]:
    """Large circles at equal exact FLOPs, open ones at other accountings, small ones at other budgets."""
    exact = sorted((mark for mark in arm.marks if mark.is_exact), key=lambda mark: mark.flops)
    whole = [mark for mark in exact if mark.is_whole_budget]
    others = sorted((mark for mark in arm.marks if not mark.is_exact), key=accounting_note)
    traces = []
    if len(exact) > 1:
        sizes = [0 if mark.is_whole_budget else 7 for mark in exact]
        style = {
            "mode": "lines+markers" if arm.is_baseline else "markers",  # multipliers are read from this line
            "line": {"color": arm.colour, "dash": "dot", "width": 1.2},
            "marker": {"color": arm.colour, "size": sizes, "opacity": 1},
        }
        traces.append(_mark_trace(arm, exact, "at another budget") | style)
    if whole:
        circle = {"mode": "markers", "marker": _exact_circle(arm)}
        traces.append(_mark_trace(arm, whole, end) | circle)
    for where, marks in groupby(others, accounting_note):
        circle = {"mode": "markers", "marker": _open_circle(arm)}
        traces.append(_mark_trace(arm, list(marks), f"at {escape(where, quote=False)}") | circle)
    return traces


def _exact_circle(arm: ArmSummary) -> dict[str, Any]:
    return {"color": arm.colour, "size": 15, "line": {"color": "#ffffff", "width": 1.2}, "opacity": 1}


def _open_circle(arm: ArmSummary) -> dict[str, Any]:
    return {"color": "#ffffff", "size": 14, "line": {"color": arm.colour, "width": 2.4}, "opacity": 1}


def _mark_trace(arm: ArmSummary, marks: Sequence[AveragedMark], where: str) -> Trace:
    """The values of marks, without a style; `where` describes them in the hover text."""
    values = {}
    for kind in LOSSES:
        known, losses = _measured(marks, kind)
        text = [
            _hover(arm, mark, where if mark.annealed else f"{where}, learning rate not decayed") for mark in known
        ]
        values[kind] = _positions(known) | {"y": [loss.mean for loss in losses], "text": text}
    return _common(arm) | {"showlegend": False, "values": values}


P = TypeVar("P", bound=AveragedPoint)


def _measured(points: Sequence[P], kind: str) -> tuple[list[P], list[SeedRange]]:
    """The points at which a loss was measured, and these losses."""
    known = [(point, loss) for point in points if (loss := point.drawn_loss(kind))]
    return [point for point, _ in known], [loss for _, loss in known]


def _positions(points: Sequence[AveragedPoint]) -> dict[str, list[Any]]:
    return {axis: [point.at(axis) for point in points] for axis in AXES}


def _hover(arm: ArmSummary, point: AveragedPoint, where: str) -> str:
    lines = [f"{_bold(arm.name)}, {where}" if where else _bold(arm.name)]
    for kind, title in LOSSES.items():
        loss = point.loss(kind)
        if loss:
            seeds = f" ({fixed(loss.low)} to {fixed(loss.high)} over seeds)" if loss.high > loss.low else ""
            lines.append(f"{title} {fixed(loss.mean)}{seeds}")
    if isinstance(point, AveragedMark) and point.curve_val:
        lines.append(f"on the curves’ part of the validation text {fixed(point.curve_val.mean)}")
    lines.append(f"{count(point.tokens)} tokens · {scientific(point.flops)} FLOPs · {duration(point.seconds)}")
    phase = [escape(point.phase, quote=False)] if point.phase else []
    if point.depth is not None:
        phase.append(f"{counted(point.depth, 'block')} deep")
    if phase:
        lines.append(", ".join(phase))
    return "<br>".join(lines)


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
