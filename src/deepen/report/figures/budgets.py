"""The figures of a study with several budgets: the loss of each arm, and its difference from the baseline.

The budget is on the x axis, as tokens of the baseline per non-embedding parameter, on a logarithmic scale. In the
panel of differences, arms at the same budget stand side by side, so that their intervals can be told apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from deepen.report.figures.drawing import arm_handles
from deepen.report.layout import legend_label
from deepen.report.style import LINE_STYLES
from deepen.report.summary.study_summary import ArmSummary, StudySummary
from deepen.report.units import fixed, signed
from deepen.study.results.schema import Interval

BUDGET_PANELS = {"budget-loss": "Loss", "budget-difference": "Difference from the baseline"}

_STEP_ASIDE = 0.025
"""Distance between two arms at the same budget, as a share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """An arm at a budget: its loss in nats per token, or the difference from the baseline with its interval."""

    budget: float
    value: float
    interval: Interval | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The distances from the value to the ends of its interval; zero where it lies outside."""
        low, high = self.interval or (self.value, self.value)
        return max(0.0, self.value - low), max(0.0, high - self.value)


def has_several_budgets(study: StudySummary) -> bool:
    """Whether an arm is compared with the baseline at more than one budget.

    The best fixed depth always is, because multipliers are read from its other budgets, and does not count.
    """
    return any(len(points) > 1 for arm, points in _differences(study) if arm.name != study.best_fixed_depth)


def draw_budgets(study: StudySummary) -> Figure:
    """Both panels side by side."""
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for arm, points in reversed(list(_losses(study))):
        _draw_line(left, arm, points)
    left.set_ylabel("validation loss (nats per token)")
    right.axhline(0, color="#1a1a1a", lw=1)
    for arm, points in _differences(study):
        _draw_line(right, arm, points)
    right.set_ylabel("difference (nats per token)")
    for axes, title in zip((left, right), BUDGET_PANELS.values(), strict=True):
        ticks = _ticks(study)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator([*ticks]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels(ticks.values())
        axes.set_xlabel(_axis(study))
        axes.set_title(title)
    arms = [arm for arm, _ in _losses(study)]
    labels = [legend_label(arm.name) for arm in arms]
    figure.legend(arm_handles(arms), labels, loc="outside lower left", ncols=4, columnspacing=1.6)
    return figure


def budget_chart(study: StudySummary, panel: str) -> dict[str, Any]:
    """One of `BUDGET_PANELS` as plotly's JSON."""
    is_loss = panel == "budget-loss"
    lines = _losses(study) if is_loss else _differences(study)
    return {
        "traces": [_trace(study, arm, points, rank, is_loss) for rank, (arm, points) in enumerate(lines)],
        "x": _axis(study),
        "ticks": {"values": [*_ticks(study)], "labels": [*_ticks(study).values()]},
        "title": "validation loss (nats per token)" if is_loss else "difference (nats per token)",
        "line": None if is_loss else {"y": 0, "label": escape(f"equal to {study.baseline_words}", quote=False)},
    }


def _losses(study: StudySummary) -> Iterator[tuple[ArmSummary, list[_Point]]]:
    """The mean loss of each arm at its budgets; the baseline was measured at more of them than the others."""
    for arm in study.arms:
        points = [
            _Point(budget=budget, value=mark.val.mean)
            for mark in arm.marks
            if mark.is_exact and mark.val and (budget := _budget(study, mark.budget_share)) > 0
        ]
        if points:
            yield arm, sorted(points, key=lambda point: point.budget)


def _differences(study: StudySummary) -> Iterator[tuple[ArmSummary, list[_Point]]]:
    """The mean difference of each arm from the baseline at its budgets, a little aside of the arms before it."""
    arms = [arm for arm in study.arms if not arm.is_baseline]
    for rank, arm in enumerate(arms):
        aside = 1 + _STEP_ASIDE * (rank - (len(arms) - 1) / 2)
        points = [
            _Point(budget=budget * max(aside, 0.5), value=verdict.difference, interval=verdict.interval)
            for verdict in study.verdicts
            if verdict.arm == arm.name
            and verdict.is_exact
            and verdict.difference is not None
            and (budget := _budget(study, verdict.budget_share)) > 0
        ]
        if points:
            yield arm, sorted(points, key=lambda point: point.budget)


def _budget(study: StudySummary, share: float | None) -> float:
    """A budget on the x axis: tokens per parameter, or the share of the study's budget if these are unknown."""
    return (1.0 if share is None else share) * (study.regime.tokens_per_parameter or 1.0)


def _axis(study: StudySummary) -> str:
    known = study.regime.tokens_per_parameter is not None
    return "budget: the baseline’s tokens per parameter" if known else "budget ÷ the study’s"


def _ticks(study: StudySummary) -> dict[float, str]:
    """The budgets at which arms are compared, with their labels."""
    shares = {verdict.budget_share for verdict in study.verdicts if verdict.is_exact}
    budgets = sorted({budget for share in shares if (budget := _budget(study, share)) > 0})
    return {budget: f"{budget:.3g}" for budget in budgets}


def _draw_line(axes: Axes, arm: ArmSummary, points: Sequence[_Point]) -> None:
    axes.errorbar(
        [point.budget for point in points],
        [point.value for point in points],
        yerr=list(zip(*(point.ends for point in points), strict=True)),
        color=arm.colour,
        linestyle=LINE_STYLES[arm.dash],
        lw=1.9 if arm.is_baseline else 1.4,
        elinewidth=1,
        marker="o",
        markersize=3.5,
    )


def _trace(
    study: StudySummary, arm: ArmSummary, points: Sequence[_Point], rank: int, is_loss: bool
) -> dict[str, Any]:
    name = escape(arm.name, quote=False)
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "marker": {"size": 7, "color": arm.colour},
        "line": {"color": arm.colour, "dash": arm.dash, "width": 3 if arm.is_baseline else 2},
        "name": escape(legend_label(arm.name, 30), quote=False),
        "legendgroup": name,
        "legendrank": rank,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverlabel": {"bordercolor": arm.colour},
        "x": [point.budget for point in points],
        "y": [point.value for point in points],
        "text": [f"<b>{name}</b><br>{_hover(point, is_loss)}" for point in points],
    }
    if not is_loss:
        below, above = zip(*(point.ends for point in points), strict=True)
        trace["error_y"] = {
            "type": "data", "symmetric": False, "arrayminus": below, "array": above, "color": arm.colour,
            "thickness": 1.2, "width": 3,
        }  # fmt: skip
    return trace


def _hover(point: _Point, is_loss: bool) -> str:
    if is_loss:
        return f"{fixed(point.value)} at {point.budget:.3g}"
    interval = point.interval
    return f"{signed(point.value)} nats" + (
        "" if interval is None else f", interval {signed(interval[0])} to {signed(interval[1])}"
    )
