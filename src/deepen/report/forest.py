"""The forest plot: every verdict's difference from full training with its interval."""

from __future__ import annotations

from matplotlib.axes import Axes

from deepen.report.layout import (
    accounting_note,
    difference_range,
    multiplier_text,
    shortened,
    verdict_rows,
)
from deepen.report.results import Study, Verdict
from deepen.report.units import places_for, signed


def draw_verdicts(axes: Axes, study: Study) -> None:
    """A forest plot: one row per verdict, the baseline at zero with its seed spread."""
    rows = [v for v in verdict_rows(study) if v.difference is not None]
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(*difference_range(study))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    spread = "\ngrey: the baseline’s own spread over seeds" if study.noise_floor else ""
    sides = "← lower than full training · higher →"
    axes.set_xlabel(f"difference in validation loss, nats per token\n{sides}{spread}")
    arms = [v.arm for v in rows]
    follows = [y > 0 and arms[y] == arms[y - 1] for y in range(len(rows))]  # a second mark of the same arm
    notes = [accounting_note(v) for v in rows]
    full = [shortened(v.arm, 26) + (f", {note}" if note else "") for v, note in zip(rows, notes, strict=True)]
    labels = [notes[y] if follows[y] else full[y] for y in range(len(rows))]
    axes.set_yticks(range(len(rows)), labels, color="#222222")
    for tick, second in zip(axes.get_yticklabels(), follows, strict=True):
        if second:
            tick.set(color="#777777", fontsize=7)
    if not rows:
        axes.text(0.5, 0.5, "no verdict yet", transform=axes.transAxes, ha="center", va="center", color="#888888")
        return
    if study.noise_floor:
        axes.axvspan(-study.noise_floor, study.noise_floor, color="#e9e9e9", lw=0, zorder=0)
    axes.axvline(0, color="#1a1a1a", lw=1)
    places = places_for([v.difference for v in rows if v.difference is not None])
    for y, verdict in enumerate(rows):
        _draw_verdict(axes, study, verdict, y)
        note = f"{signed(verdict.difference, places)}   {multiplier_text(verdict)}"
        axes.text(1.02, y, note, transform=axes.get_yaxis_transform(), va="center", fontsize=7, color="#444444")


def _draw_verdict(axes: Axes, study: Study, verdict: Verdict, y: int) -> None:
    arm = study.arm(verdict.arm)
    colour = arm.colour if arm else "#555555"
    paper = verdict.accounting != "flops"
    if verdict.interval:
        least, most = difference_range(study)
        low, high = max(verdict.interval[0], least), min(verdict.interval[1], most)
        axes.plot([low, high], [y, y], color=colour, lw=1.6, alpha=0.9, zorder=2, solid_capstyle="butt")
        for end, raw, arrow in ((low, verdict.interval[0], "<"), (high, verdict.interval[1], ">")):
            clipped = end != raw
            axes.plot([end], [y], marker=arrow if clipped else "|", color=colour, ms=5, mew=1.4, clip_on=False)
    axes.plot(
        [verdict.difference or 0.0],
        [y],
        "o",
        markersize=6.5,
        markerfacecolor="white" if paper else colour,
        markeredgecolor=colour,
        markeredgewidth=1.4,
        zorder=3,
    )
