"""The static figures of losses: lines and seed bands of all arms, with circles at the marks."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepen.report.figures.drawing import draw_curve, draw_legend, draw_marks
from deepen.report.figures.forest import draw_forest
from deepen.report.layout import AXES, choose_unit, loss_title, loss_window
from deepen.report.summary.averages import AveragedPoint
from deepen.report.summary.study_summary import StudySummary


def draw_losses(study: StudySummary, kind: str) -> Figure:
    """One loss (`val` or `train`) against tokens, exact FLOPs and seconds, side by side."""
    figure = Figure(figsize=(10.4, 4.0), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(AXES), sharey=True)
    for axes, axis in zip(panels, AXES, strict=True):
        _draw_loss(axes, study, axis, kind)
    panels[0].set_ylabel(loss_title(study, kind))
    draw_legend(figure, study)
    return figure


def draw_overview(study: StudySummary) -> Figure:
    """Validation loss against compute beside the forest plot; of a single arm only the loss."""
    if study.is_single_arm:
        figure = Figure(figsize=(4.6, 3.7), layout="constrained")
        axes = figure.subplots()
        _draw_loss(axes, study, "flops", "val")
        axes.set_ylabel(loss_title(study, "val"))
        draw_legend(figure, study)
        return figure
    figure = Figure(figsize=(8.0, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_loss(left, study, "flops", "val")
    left.set_ylabel(loss_title(study, "val"))
    left.set_title("Loss against compute; ● at equal compute")
    draw_forest(right, study)
    right.set_title("Against full training")
    draw_legend(figure, study)
    return figure


def _draw_loss(axes: Axes, study: StudySummary, axis: str, kind: str) -> None:
    lines = [line for arm in study.arms for line in (arm.curve, *arm.tails, arm.marks)]
    divisor, label = choose_unit(axis, max((point.at(axis) for line in lines for point in line), default=0.0))

    def position(point: AveragedPoint) -> float:
        return point.at(axis) / divisor

    for arm in reversed(study.arms):  # the baseline last, on top
        draw_curve(axes, arm, position, kind)
    if axis == "flops" and study.baseline_mark and not study.is_single_arm:
        axes.axvline(position(study.baseline_mark), color="#bbbbbb", lw=0.8, zorder=1)
    for arm in reversed(study.arms):
        draw_marks(axes, arm, position, lambda mark: mark.mean_loss(kind))
    window = loss_window(study, kind)
    if window:
        axes.set_ylim(*window)
    else:
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center", color="#888888")
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.margins(x=0.03)
