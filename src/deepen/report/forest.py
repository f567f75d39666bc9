"""The forest plot: every arm's difference from full training, with its interval."""

from matplotlib.axes import Axes

from deepen.report.layout import accounting_note, difference_range, legend_label, multiplier_text, sort_verdicts
from deepen.report.style import UNKNOWN_COLOUR
from deepen.report.summary import StudySummary
from deepen.report.units import decimal_places, signed
from deepen.study.results.schema import Verdict


def draw_forest(axes: Axes, study: StudySummary) -> None:
    """Draw one row per verdict. Zero is the baseline; the grey band is its standard deviation over seeds."""
    rows = [v for v in sort_verdicts(study) if v.difference is not None]
    seed_std = study.noise.baseline_seed_std
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(*difference_range(study))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=5)
    band = "\ngrey: one standard deviation of the baseline over seeds" if seed_std else ""
    sides = "← lower than full training · higher →"
    axes.set_xlabel(f"difference in validation loss, nats per token\n{sides}{band}")
    _label_rows(axes, rows)
    if not rows:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no verdict yet", transform=axes.transAxes, ha="center", va="center", color="#888888")
        return
    if seed_std:
        axes.axvspan(-seed_std, seed_std, color="#e9e9e9", lw=0, zorder=0)
    axes.axvline(0, color="#1a1a1a", lw=1)
    places = decimal_places([v.difference for v in rows if v.difference is not None])
    for y, verdict in enumerate(rows):
        _draw_verdict(axes, study, verdict, y)
        note = f"{signed(verdict.difference, places)}   {multiplier_text(verdict)}"
        axes.text(1.02, y, note, transform=axes.get_yaxis_transform(), va="center", fontsize=7, color="#444444")


def _label_rows(axes: Axes, rows: list[Verdict]) -> None:
    """Label each row with its arm, and a second row of the same arm only with its accounting, in grey."""
    labels, repeated = [], []
    for y, verdict in enumerate(rows):
        note = accounting_note(verdict)
        repeated.append(y > 0 and rows[y - 1].arm == verdict.arm)
        name = legend_label(verdict.arm, 26)
        labels.append(note if repeated[y] else f"{name}, {note}" if note else name)
    axes.set_yticks(range(len(rows)), labels, color="#222222")
    for tick, is_repeated in zip(axes.get_yticklabels(), repeated, strict=True):
        if is_repeated:
            tick.set(color="#777777", fontsize=7)


def _draw_verdict(axes: Axes, study: StudySummary, verdict: Verdict, y: int) -> None:
    arm = study.find_arm(verdict.arm)
    colour = arm.colour if arm else UNKNOWN_COLOUR
    if verdict.interval:
        left, right = difference_range(study)
        low, high = max(verdict.interval[0], left), min(verdict.interval[1], right)
        axes.plot([low, high], [y, y], color=colour, lw=1.6, alpha=0.9, zorder=2, solid_capstyle="butt")
        for shown, end, arrow in ((low, verdict.interval[0], "<"), (high, verdict.interval[1], ">")):
            marker = "|" if shown == end else arrow  # an arrow where the interval is clipped
            axes.plot([shown], [y], marker=marker, color=colour, ms=5, mew=1.4, clip_on=False)
    axes.plot(
        [verdict.difference or 0.0],
        [y],
        "o",
        markersize=6.5,
        markerfacecolor=colour if verdict.is_exact else "white",
        markeredgecolor=colour,
        markeredgewidth=1.4,
        zorder=3,
    )
