"""The figure of a plan: the role of each block in each phase, and the compute so far, against tokens."""

from collections.abc import Iterator
from itertools import accumulate, groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepen.compute.ledger import Role, phase_flops, roles
from deepen.compute.plan import Plan
from deepen.schedule.trainable import TrainedParts

_ROLE_COLOURS = {Role.TRAINED: "#2166ac", Role.THROUGH: "#92c5de", Role.FORWARD: "#d9d9d9"}
_ROLE_LABELS = {
    Role.TRAINED: "trained",
    Role.THROUGH: "frozen, gradients run through",
    Role.FORWARD: "frozen, forward only",
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
    with mpl.rc_context(
        {"font.size": 9, "svg.hashsalt": "deepen", "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(8, 5.2), layout="constrained")
        depth, compute = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1))
        most_tokens = max(total.schedule.tokens for total in (plan.baseline, *plan.marks.values()))
        divisor, unit = next((each for each in _UNITS if most_tokens >= each[0]), (1.0, ""))
        _draw_depth(depth, plan, divisor)
        _draw_compute(compute, plan, divisor)
        compute.set_xlabel(f"training tokens{unit}")
        figure.suptitle(
            f"{request.recipe_name} on {request.model.name}, against {request.against_name} at equal exact FLOPs",
            x=0.01,
            ha="left",
        )
        figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_depth(axes: Axes, plan: Plan, divisor: float) -> None:
    """Draw each block as a row, coloured by its role in each phase."""
    begin = 0
    labelled: set[Role] = set()
    for planned in plan.phases:
        end = begin + planned.phase.tokens
        for role, low, high in _blocks_by_role(planned.trained):
            axes.fill_between(
                [begin / divisor, end / divisor],
                low,
                high,
                color=_ROLE_COLOURS[role],
                label=None if role in labelled else _ROLE_LABELS[role],
                linewidth=0.4,
                edgecolor="white",
            )
            labelled.add(role)
        begin = end
    axes.set_ylabel("blocks")
    axes.set_ylim(0, max(1, plan.total.schedule.depth))
    axes.margins(x=0)
    if labelled:
        axes.legend(loc="upper left", fontsize=8, framealpha=0.9)


def _blocks_by_role(trained: TrainedParts) -> Iterator[tuple[Role, int, int]]:
    """Groups of adjacent blocks with the same role: role, first block, end (exclusive)."""
    low = 0
    for role, blocks in groupby(roles(trained)):
        high = low + len(list(blocks))
        yield role, low, high
        low = high


def _draw_compute(axes: Axes, plan: Plan, divisor: float) -> None:
    """Draw the FLOPs of the recipe and of the baseline against tokens, with the marks."""
    request = plan.request
    recipe_colour = _ROLE_COLOURS[Role.TRAINED]
    for total, name, colour, style in (
        (plan.total, request.recipe_name, recipe_colour, "-"),
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
    axes.legend(loc="upper left", fontsize=8)
