"""The figure of a plan: the role of each layer in each phase, and the compute so far, against tokens."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepen.compute.ledger import Role, phase_flops, roles
from deepen.compute.plan import Plan
from deepen.report.roles import ADDED_COLOUR, ROLE_STYLES, group_layers, role_key
from deepen.schedule.schedule import Schedule

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "svg.hashsalt": "deepen",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_BASELINE_COLOUR = "#b2182b"
_UNITS = ((1e12, ", trillions"), (1e9, ", billions"), (1e6, ", millions"))
_MARKS = {
    "flops": ("o", "black", "equal exact FLOPs"),
    "paper": ("o", "none", "the paper’s mark"),
    "tokens": ("^", "none", "equal tokens"),
    "seconds": ("s", "none", "equal seconds"),
}
"""Marker, face colour and label of each accounting."""


def draw_plan(plan: Plan, path: Path) -> None:
    """Draw a plan to a .png, .svg or .pdf file."""
    request = plan.request
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 5.2), layout="constrained")
        depth, compute = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
        most_tokens = max(total.schedule.tokens for total in (plan.baseline, *plan.marks.values()))
        divisor, unit = next((each for each in _UNITS if most_tokens >= each[0]), (1.0, ""))
        draw_blocks(depth, plan.total.schedule, divisor)
        _draw_compute(compute, plan, divisor)
        compute.set_xlabel(f"training tokens{unit}")
        figure.suptitle(
            f"{request.run_name} on {request.model.name}, against {request.against_name} at equal exact FLOPs",
            x=0.01,
            ha="left",
        )
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def draw_schedule(schedule: Schedule, title: str, path: Path) -> None:
    """Draw the blocks of a schedule against the share of its tokens, to a .png, .svg or .pdf file."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 2.2), layout="constrained")
        axes = figure.subplots()
        draw_blocks(axes, schedule, schedule.tokens)
        axes.set_xlabel("share of the tokens")
        axes.set_title(title, loc="left")
        figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)


def draw_blocks(axes: Axes, schedule: Schedule, divisor: float) -> None:
    """Draw each executed layer as a row, coloured by what training does with its block in each phase.

    Layers that execute a block again are hatched. A line where a phase begins marks the blocks added there, and a
    dotted one where a plateau may end it at the earliest.
    """
    begin = 0
    for phase, trained, step in zip(schedule.phases, schedule.trained_parts, schedule.growth_steps, strict=True):
        left, right = begin / divisor, (begin + phase.tokens) / divisor
        for group in group_layers(trained.executed, map(role_key, roles(trained))):
            style = ROLE_STYLES[group.role]
            axes.fill_between(
                [left, right],
                group.low,
                group.high,
                facecolor=style.colour,
                linewidth=0.4,
                edgecolor="white",
                hatch="////" if group.is_repeat else None,
                label=f"{style.label}, a block executed again" if group.is_repeat else style.label,
            )
        for low in step.new_blocks if step is not None else ():
            axes.plot([left, left], [low, low + 1], color=ADDED_COLOUR, linewidth=3, clip_on=False, label="added")
        if phase.until is not None:
            first = (begin + phase.until.earliest) / divisor
            axes.plot([first, first], [0, phase.depth], ":", color="black", label="may end from here on")
        begin += phase.tokens
    axes.set_ylabel("layers")
    axes.set_ylim(0, max(1, schedule.depth))
    axes.margins(x=0)
    by_label = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    if by_label:
        axes.legend(by_label.values(), by_label.keys(), loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def _draw_compute(axes: Axes, plan: Plan, divisor: float) -> None:
    """Draw the FLOPs of the recipe and of the baseline against tokens, with the marks."""
    request = plan.request
    recipe_colour = ROLE_STYLES[role_key(Role.TRAINED)].colour
    for total, name, colour, style in (
        (plan.total, request.run_name, recipe_colour, "-"),
        (plan.baseline, request.against_name, _BASELINE_COLOUR, "--"),
    ):
        tokens = accumulate((phase.tokens / divisor for phase in total.schedule.phases), initial=0.0)
        flops = accumulate(phase_flops(request.ledger, total.schedule), initial=0)
        axes.plot(list(tokens), list(flops), style, color=colour, label=name)
    end = plan.total.schedule.tokens / divisor
    for accounting, mark in plan.marks.items():
        marker, face, label = _MARKS[accounting]
        at = mark.schedule.tokens / divisor
        if at > end:  # the run continued to the mark
            axes.plot([end, at], [plan.total.flops, mark.flops], ":", color=recipe_colour)
        axes.plot([at], [mark.flops], marker, color="black", markersize=6, markerfacecolor=face, label=label)
    axes.axhline(plan.baseline.flops, color=_BASELINE_COLOUR, linewidth=0.6, linestyle=":")
    axes.set_ylim(0, None)
    convention = "causal-exact" if request.ledger.causal_exact else "dense"
    axes.set_ylabel(f"FLOPs so far ({convention} attention)")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
