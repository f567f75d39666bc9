"""The forest plot: every arm's difference from the baseline, with its joint interval and a dot for each seed."""

from matplotlib.axes import Axes

from deepen.report.intervals import multiplier_text
from deepen.report.layout import accounting_note, difference_range, legend_label, sort_verdicts
from deepen.report.style import UNKNOWN_COLOUR
from deepen.report.summary.study_summary import StudySummary
from deepen.report.units import decimal_places, signed
from deepen.study.results.schema import Verdict


def draw_forest(axes: Axes, study: StudySummary) -> None:
    """Draw one row per verdict. Zero is the baseline; the grey band is what the study cannot tell from zero."""
    rows = [v for v in sort_verdicts(study) if v.difference is not None]
    half_width = study.noise.half_width
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(*difference_range(study))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=5)
    sides = f"← lower than {legend_label(study.baseline_words, 26)} · higher →"
    axes.set_xlabel(f"difference in validation loss, nats per token\n{sides}{_explain_marks(rows, half_width)}")
    _label_rows(axes, rows)
    if not rows:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no verdict yet", transform=axes.transAxes, ha="center", va="center", color="#888888")
        return
    if half_width:
        axes.axvspan(-half_width, half_width, color="#e9e9e9", lw=0, zorder=0)
    axes.axvline(0, color="#1a1a1a", lw=1)
    places = decimal_places([v.difference for v in rows if v.difference is not None])
    for y, verdict in enumerate(rows):
        _draw_verdict(axes, study, verdict, y)
        note = f"{signed(verdict.difference, places)}   {multiplier_text(verdict)}"
        axes.text(1.02, y, note, transform=axes.get_yaxis_transform(), va="center", fontsize=7, color="#444444")


def _explain_marks(rows: list[Verdict], half_width: float | None) -> str:
    """What the band and the small dots mean, as a further line of a label; empty where there are none."""
    parts = ["grey: means that this study cannot tell from zero"] if half_width else []
    parts += ["small dots: seeds"] if any(len(v.differences) > 1 for v in rows) else []
    return f"\n{'; '.join(parts)}" if parts else ""


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
    left, right = difference_range(study)
    if verdict.interval:
        low, high = max(verdict.interval[0], left), min(verdict.interval[1], right)
        axes.plot([low, high], [y, y], color=colour, lw=1.6, alpha=0.9, zorder=2, solid_capstyle="butt")
        for shown, end, arrow in ((low, verdict.interval[0], "<"), (high, verdict.interval[1], ">")):
            marker = "|" if shown == end else arrow  # an arrow where the interval is clipped
            axes.plot([shown], [y], marker=marker, color=colour, ms=5, mew=1.4, clip_on=False)
    if len(verdict.differences) > 1:
        seeds = [each for each in verdict.differences if left <= each <= right]
        axes.plot(seeds, [y + 0.27] * len(seeds), ".", color=colour, markersize=3.5, zorder=3)
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
