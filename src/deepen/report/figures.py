"""The static figures, for a paper: PNG at 200 dpi and SVG, the same bytes from the same results."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepen.report.files import write_file
from deepen.report.forest import draw_verdicts
from deepen.report.layout import CHANCE, loss_window, shortened, task_title, verdict_rows
from deepen.report.results import Arm, Mark, Point, Study, is_whole_budget
from deepen.report.units import power

STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so the figure is the same on every machine
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "axes.linewidth": 0.7,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # an arm's name may hold a dollar sign
    "svg.hashsalt": "deepen",
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 1.6)),
    "dot": (0, (1, 1.3)),
    "dashdot": (0, (4, 1.4, 1, 1.4)),
}
AXES = (("tokens", "tokens"), ("flops", "exact FLOPs"), ("seconds", "seconds"))
LOSSES = {"val": "validation loss", "train": "training loss"}


def write_figures(study: Study, folder: Path) -> tuple[str, ...]:
    """Draw every figure the results allow into `folder`; return the file names."""
    written: list[str] = []
    with matplotlib.rc_context(STYLE):
        for quantity, title in LOSSES.items():
            written += _save(_loss_figure(study, quantity), folder, title.replace(" ", "-"))
        written += _save(_verdict_figure(study), folder, "verdicts")
        for task in study.task_names:
            slug = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")
            name = slug if task == "hellaswag" else f"task-{slug}"
            written += _save(_task_figure(study, task), folder, name)
        written += _save(_overview(study), folder, "overview", formats=("png",))
    return tuple(written)


def _save(figure: Figure, folder: Path, name: str, formats: Sequence[str] = ("png", "svg")) -> list[str]:
    FigureCanvasAgg(figure)
    for kind in formats:
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata, facecolor="white")
        write_file(folder / f"{name}.{kind}", buffer.getvalue())
    return [f"{name}.{kind}" for kind in formats]


def _loss_figure(study: Study, quantity: str) -> Figure:
    figure = Figure(figsize=(10.4, 4.0), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    for axes, (along, _) in zip(panels, AXES, strict=True):
        _draw_loss(axes, study, along, quantity)
    panels[0].set_ylabel(f"{LOSSES[quantity]} (nats per token)")
    _legend(figure, study, columns=4)
    return figure


def _overview(study: Study) -> Figure:
    figure = Figure(figsize=(8.0, 3.7), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 2, width_ratios=(1.15, 1))
    left, right = panels
    _draw_loss(left, study, "flops", "val")
    left.set_ylabel("validation loss (nats per token)")
    left.set_title("Loss against compute; ● at equal compute")
    draw_verdicts(right, study)
    right.set_title("Against full training")
    _legend(figure, study, columns=4)
    return figure


def _legend(figure: Figure, study: Study, columns: int) -> None:
    arms = [arm for arm in study.arms if arm.curve or arm.marks]
    handles = [Line2D([], [], color=arm.colour, linestyle=DASHES[arm.dash], lw=2) for arm in arms]
    labels = [shortened(arm.name) for arm in arms]
    accountings = {m.accounting for arm in arms for m in arm.marks}
    dot: dict[str, Any] = {"marker": "o", "color": "#555555", "linestyle": "none"}
    if "flops" in accountings:
        handles.append(Line2D([], [], markersize=7, **dot))
        labels.append("equal exact FLOPs")
    if "paper" in accountings:
        handles.append(Line2D([], [], markersize=7, markerfacecolor="white", **dot))
        labels.append("the paper’s own mark")
    if _other_budgets(study.baseline_arm):
        handles.append(Line2D([], [], markersize=3.5, **(dot | {"linestyle": ":"})))
        labels.append("baseline, other budgets")
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, columnspacing=1.6)


def _other_budgets(baseline: Arm | None) -> list[Mark]:
    marks = baseline.marks if baseline else ()
    return [m for m in marks if m.accounting == "flops" and not is_whole_budget(m)]


def _draw_loss(axes: Axes, study: Study, along: str, quantity: str) -> None:
    """Lines and seed bands of every arm, and the circles at the marks."""
    scale, label = _axis(study, along)

    def x(point: Point) -> float:
        return float(getattr(point, along)) / scale

    for arm in reversed(study.arms):  # the baseline last, so on top
        points = [(x(p), getattr(p, quantity)) for p in arm.curve if getattr(p, quantity) is not None]
        xs = [at for at, _ in points]
        width = 1.9 if arm.is_baseline else 1.4
        axes.fill_between(
            xs, [b.low for _, b in points], [b.high for _, b in points], color=arm.colour, alpha=0.16, lw=0
        )
        axes.plot(xs, [b.mean for _, b in points], color=arm.colour, linestyle=DASHES[arm.dash], lw=width)
    if along == "flops" and study.baseline_mark:
        axes.axvline(x(study.baseline_mark), color="#bbbbbb", lw=0.8, zorder=1)
    for arm in reversed(study.arms):
        _draw_marks(axes, arm, x, quantity)
    window = loss_window(study, quantity)
    if window:
        axes.set_ylim(*window)
    else:
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center", color="#888888")
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.margins(x=0.03)


def _draw_marks(axes: Axes, arm: Arm, x: Callable[[Point], float], quantity: str) -> None:
    marks = sorted((m for m in arm.marks if getattr(m, quantity)), key=x)
    budgets = [m for m in marks if m.accounting == "flops"]
    if len(budgets) > 1:  # the line the compute multiplier is read from
        ys = [getattr(m, quantity).mean for m in budgets]
        axes.plot([x(m) for m in budgets], ys, color=arm.colour, linestyle=":", lw=1, zorder=3)
    for mark in marks:
        small = not is_whole_budget(mark) and mark.accounting == "flops"
        face = "white" if mark.accounting != "flops" else arm.colour
        axes.plot(
            [x(mark)],
            [getattr(mark, quantity).mean],
            "o",
            markersize=3.5 if small else 7,
            markerfacecolor=face,
            markeredgecolor=arm.colour if face == "white" or small else "white",
            markeredgewidth=1.4 if face == "white" else 0.8,
            zorder=4,
        )


def _axis(study: Study, along: str) -> tuple[float, str]:
    """The divisor that keeps tick labels short, and the axis label that names it."""
    values = [getattr(p, along) for arm in study.arms for p in (*arm.curve, *arm.marks)]
    top = max(values, default=1.0) or 1.0
    exponent = 3 * max(0, math.floor(math.log10(top) / 3)) if top > 0 else 0
    name = dict(AXES)[along]
    if along == "seconds" and top >= 7200:
        return 3600.0, "hours"
    if along == "seconds" or not exponent:
        return 1.0, name
    words = {3: "thousand tokens", 6: "million tokens", 9: "billion tokens", 12: "trillion tokens"}
    if along == "tokens" and exponent in words:
        return 10.0**exponent, words[exponent]
    return 10.0**exponent, f"{name} (× {power(exponent)})"


def _verdict_figure(study: Study) -> Figure:
    rows = max(1, len(verdict_rows(study)))
    figure = Figure(figsize=(7.2, 1.3 + 0.3 * rows), layout="constrained")
    draw_verdicts(figure.subplots(), study)
    return figure


def _task_figure(study: Study, task: str) -> Figure:
    """Accuracy against steps with standard errors over the examples, and the line of chance."""
    figure = Figure(figsize=(6.4, 3.7), layout="constrained")
    axes = figure.subplots()
    for arm in reversed(study.arms):
        points = arm.tasks.get(task, ())
        axes.errorbar(
            [p.step for p in points],
            [100 * p.value for p in points],
            [100 * (p.stderr or 0.0) for p in points],
            color=arm.colour,
            linestyle=DASHES[arm.dash],
            marker="o",
            markersize=3.5,
            lw=1.3,
            elinewidth=0.7,
        )
    if task in CHANCE:
        axes.axhline(100 * CHANCE[task], color="#777777", lw=1, linestyle="--")
        axes.annotate(
            f"chance, {100 * CHANCE[task]:g} %",
            (1, 100 * CHANCE[task]),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color="#777777",
        )
    axes.set_xlabel("step")
    axes.set_ylabel(f"{task_title(task)} accuracy (%)")
    arms = [arm for arm in study.arms if task in arm.tasks]
    handles = [Line2D([], [], color=arm.colour, linestyle=DASHES[arm.dash], lw=2) for arm in arms]
    labels = [shortened(arm.name) for arm in arms]
    figure.legend(handles, labels, loc="outside lower left", ncols=4, columnspacing=1.6)
    return figure
