"""The figure of loss against constant depth at several budgets, a panel per study."""

from collections.abc import Sequence
from math import ceil, log
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from deepen.report.figures.isoflops import RATIO, DepthStudy, IsoFlops
from deepen.report.style import BASELINE_COLOUR, COLOURS, UNKNOWN_COLOUR
from deepen.report.units import ratio

MAX_COLUMNS = 3

_BESIDE = 1.05
"""Where single seeds are drawn, as a multiple of the depth."""

_LEGEND: dict[str, dict[str, Any]] = {
    "cannot be told from the lowest": {"marker": "o", "mfc": UNKNOWN_COLOUR},
    "worse than the lowest": {"marker": "o", "mfc": "#ffffff"},
    "single seeds": {"marker": ".", "ms": 3},
    "minimum, 95 %": {"marker": "D", "ms": 5, "ls": "-"},
    "minimum without an interval": {"marker": "D", "ms": 5, "mfc": "#ffffff"},
    f"each depth at its own {RATIO:g} tokens per parameter": {"ls": ":", "color": BASELINE_COLOUR},
    "the best of these, 95 %": {"ls": "--", "color": BASELINE_COLOUR},
    "numbers: tokens per parameter": {},
}


def draw_isoflops(studies: Sequence[DepthStudy]) -> Figure:
    """A panel for each study; small numbers at the ends of a curve are tokens per parameter."""
    columns = min(MAX_COLUMNS, len(studies))
    rows = ceil(len(studies) / columns)
    figure = Figure(figsize=(1.0 + 3.4 * columns, 0.9 + 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, study in zip(panels, studies, strict=False):
        _draw_panel(axes, study)
    for axes in list(panels)[len(studies) :]:
        axes.set_axis_off()
    for row in range(rows):
        figure.axes[row * columns].set_ylabel("validation loss (nats per token)")
    style: dict[str, Any] = {"color": UNKNOWN_COLOUR, "ls": "none", "ms": 4.5, "lw": 1.1}
    handles = [Line2D([], [], **(style | own)) for own in _LEGEND.values()]
    figure.legend(handles, list(_LEGEND), loc="outside lower left", ncols=1 + columns, columnspacing=1.6)
    return figure


def _draw_panel(axes: Axes, study: DepthStudy) -> None:
    for index, curve in enumerate(study.curves):
        _draw_curve(axes, curve, COLOURS[index % len(COLOURS)])
    depths = sorted({each.depth for curve in study.curves for each in curve.depths})
    own = [(depth, loss) for depth in depths if (loss := _find_own_loss(study, depth)) is not None]
    axes.plot([depth for depth, _ in own], [loss for _, loss in own], color=BASELINE_COLOUR, ls=":", lw=1.2)
    if study.own_best is not None:
        axes.axvline(study.own_best.depth, color=BASELINE_COLOUR, ls="--", lw=0.9)
        if study.own_best.interval is not None:
            axes.axvspan(*study.own_best.interval, color=BASELINE_COLOUR, alpha=0.06, lw=0)
    axes.set_xscale("log")
    axes.set_xlim(depths[0] / 1.35, depths[-1] * 1.35)
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(depth) for depth in depths])
    axes.set_xlabel("constant depth (blocks)")
    axes.set_title(study.title)


def _draw_curve(axes: Axes, curve: IsoFlops, colour: str) -> None:
    depths = [each.depth for each in curve.depths]
    means = [each.mean for each in curve.depths]
    axes.plot(depths, means, color=colour, lw=1.1, zorder=2)
    for each in curve.depths:
        if len(each.losses) > 1:
            axes.plot(
                [_BESIDE * each.depth] * len(each.losses),
                list(each.losses.values()),
                ".",
                ms=3,
                color=colour,
                zorder=2,
            )
        fill = colour if each.depth in curve.best.close else "#ffffff"
        axes.plot([each.depth], [each.mean], "o", ms=4.5, mfc=fill, mec=colour, mew=1.1, zorder=3)
    for each, side in ((curve.depths[0], -1), (curve.depths[-1], 1)):
        axes.annotate(
            ratio(each.tokens_per_parameter),
            (each.depth, each.mean),
            xytext=(9 * side, 0),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            va="center",
            fontsize=6.5,
            color=colour,
        )
    if curve.best.minimum is not None:
        low, high = _clip(curve.best.interval, depths) if curve.best.interval else (curve.best.minimum,) * 2
        at = float(np.interp(log(curve.best.minimum), np.log(depths), means))
        axes.plot([low, high], [at, at], color=colour, lw=2.2, zorder=4, solid_capstyle="butt")
        fill, edge = (colour, "#ffffff") if curve.best.interval else ("#ffffff", colour)
        axes.plot([curve.best.minimum], [at], "D", ms=5, mfc=fill, mec=edge, mew=0.9, zorder=5)


def _clip(interval: tuple[float, float], depths: Sequence[int]) -> tuple[float, float]:
    """The part of an interval among the depths."""
    return max(interval[0], depths[0]), min(interval[1], depths[-1])


def _find_own_loss(study: DepthStudy, depth: int) -> float | None:
    """The loss of a depth at its own `RATIO`, between two budgets; None outside of the measured ones."""
    losses = {
        log(curve.budget): each.mean for curve in study.curves for each in curve.depths if each.depth == depth
    }
    at = log(study.own_budgets[depth])
    if len(losses) < 2 or not min(losses) <= at <= max(losses):
        return None
    return float(np.interp(at, list(losses), list(losses.values())))
