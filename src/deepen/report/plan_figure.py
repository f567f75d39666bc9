"""The figure of a plan: depth and trained part over tokens, and below it the compute spent so far."""

from itertools import accumulate
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepen.compute.ledger import Role, phase_flops, roles
from deepen.compute.plan import Plan

_COLOURS = {Role.TRAINED: "#2166ac", Role.THROUGH: "#92c5de", Role.FORWARD: "#d9d9d9"}
_BASELINE = "#b2182b"
_WORDS = {
    Role.TRAINED: "trained",
    Role.THROUGH: "frozen, gradients run through",
    Role.FORWARD: "frozen, forward only",
}
_UNITS = ((1e12, ", trillions"), (1e9, ", billions"), (1e6, ", millions"))
_MARKS = {
    "flops": ("o", "equal exact FLOPs"),
    "paper": ("o", "the paper’s mark"),
    "seconds": ("s", "equal seconds"),
}


def draw_plan(plan: Plan, path: Path) -> None:
    """Draw a plan to a .png, .svg or .pdf file."""
    with mpl.rc_context(
        {"font.size": 9, "svg.hashsalt": "deepen", "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(8, 5.2), layout="constrained")
        depth, compute = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
        most = max(total.schedule.tokens for total in (plan.baseline, *plan.marks.values()))
        scale, unit = next((each for each in _UNITS if most >= each[0]), (1.0, ""))
        _draw_depth(depth, plan, scale)
        _draw_compute(compute, plan, scale, unit)
        request = plan.request
        figure.suptitle(
            f"{request.recipe} on {request.model.name}, against {request.against} at equal exact FLOPs",
            x=0.01,
            ha="left",
        )
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_depth(axes: Axes, plan: Plan, scale: float) -> None:
    """Each block as a row: what a phase does with it."""
    begin, shown = 0, set()
    for planned in plan.phases:
        phase = planned.phase
        runs: list[tuple[Role, int, int]] = []
        for index, role in enumerate(roles(planned.trained)):
            if runs and runs[-1][0] is role:
                runs[-1] = (role, runs[-1][1], index + 1)
            else:
                runs.append((role, index, index + 1))
        for role, low, high in runs:
            axes.fill_between(
                [begin / scale, (begin + phase.tokens) / scale],
                low,
                high,
                color=_COLOURS[role],
                label=None if role in shown else _WORDS[role],
                linewidth=0.4,
                edgecolor="white",
            )
            shown.add(role)
        begin += phase.tokens
    axes.set_ylabel("blocks")
    axes.set_ylim(0, max(1, plan.total.schedule.depth))
    axes.margins(x=0)
    if shown:
        axes.legend(loc="upper left", fontsize=8, framealpha=0.9)


def _draw_compute(axes: Axes, plan: Plan, scale: float, unit: str) -> None:
    """FLOPs so far, of the recipe and of what it is held against, with the marks."""
    request = plan.request
    for total, name, colour, style in (
        (plan.total, request.recipe, _COLOURS[Role.TRAINED], "-"),
        (plan.baseline, request.against, _BASELINE, "--"),
    ):
        tokens = accumulate((phase.tokens / scale for phase in total.schedule.phases), initial=0.0)
        flops = accumulate(phase_flops(request.ledger, total.schedule), initial=0)
        axes.plot(list(tokens), list(flops), style, color=colour, label=name)
    for accounting, mark in plan.marks.items():
        shape, label = _MARKS[accounting]
        face = "black" if accounting == "flops" else "none"
        at, end = mark.schedule.tokens / scale, plan.total.schedule.tokens / scale
        axes.plot([end, at], [plan.total.flops, mark.flops], ":", color=_COLOURS[Role.TRAINED])  # the way there
        axes.plot([at], [mark.flops], shape, color="black", markersize=6, markerfacecolor=face, label=label)
    axes.axhline(plan.baseline.flops, color=_BASELINE, linewidth=0.6, linestyle=":")
    axes.set_ylim(0, None)
    axes.set_xlabel(f"training tokens{unit}")
    convention = "causal-exact" if request.ledger.causal_exact else "dense"
    axes.set_ylabel(f"FLOPs so far ({convention} attention)")
    axes.legend(loc="upper left", fontsize=8)
