"""The static figures of a task: its scores against steps, alone and beside the losses."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepen.report.figures.drawing import draw_curve, draw_legend, draw_marks, measured
from deepen.report.layout import chance_level, loss_window, task_unit
from deepen.report.style import LINE_STYLES
from deepen.report.summary.averages import AveragedMark, AveragedPoint
from deepen.report.summary.study_summary import StudySummary


def draw_task(study: StudySummary, task: str) -> Figure:
    """Draw the scores of all arms on a task."""
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    _draw_scores(figure.subplots(), study, task)
    draw_legend(figure, study)
    return figure


def draw_losses_and_task(study: StudySummary, task: str) -> Figure:
    """Draw losses and scores side by side against steps, as the paper does (arXiv 2411.18700)."""
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for arm in reversed(study.arms):  # the baseline last, on top
        points = measured(arm.curve, _step, "train")
        losses.plot([x for x, _ in points], [loss.mean for _, loss in points], color=arm.colour, lw=0.8, alpha=0.4)
        draw_curve(losses, arm, _step, "val")
    for arm in reversed(study.arms):
        draw_marks(losses, arm, _step, lambda mark: mark.mean_loss("val"))
    windows = [window for kind in ("val", "train") if (window := loss_window(study, kind))]
    if windows:
        losses.set_ylim(min(low for low, _ in windows), windows[0][1])
    losses.set_xlim(left=0)
    losses.set_xlabel("step")
    losses.set_ylabel("loss (nats per token)")
    losses.set_title("Validation loss; faint: training loss")
    _draw_scores(scores, study, task)
    scores.set_xlim(losses.get_xlim())
    scores.set_title(f"● {'at the end' if study.is_single_arm else 'at equal compute'}, with one standard error")
    draw_legend(figure, study)
    return figure


def _step(point: AveragedPoint) -> float:
    return point.at("step")


def _draw_scores(axes: Axes, study: StudySummary, task: str) -> None:
    """Draw lines, circles at the marks with one standard error over examples, and the level of chance."""
    factor, label = task_unit(task)

    def score(mark: AveragedMark) -> float | None:
        is_shown = task in mark.tasks and mark.is_whole_budget
        return factor * mark.tasks[task].value if is_shown else None

    for arm in reversed(study.arms):
        scores = arm.tasks.get(task, ())
        axes.plot(
            [each.step for each in scores],
            [factor * each.value for each in scores],
            color=arm.colour,
            linestyle=LINE_STYLES[arm.dash],
            lw=1.9 if arm.is_baseline else 1.4,
        )
    for arm in reversed(study.arms):
        draw_marks(axes, arm, _step, score)
        if (mark := arm.mark_at_equal_compute) and task in mark.tasks:
            at = mark.tasks[task]
            axes.errorbar(
                [at.step],
                [factor * at.value],
                [factor * max(0.0, at.stderr or 0.0)],
                color=arm.colour,
                elinewidth=1.0,
                capsize=2.5,
                zorder=3,
            )
    chance = chance_level(task)
    if chance is not None:
        axes.axhline(factor * chance, color="#777777", lw=1, linestyle="--")
        axes.annotate(
            f"chance, {factor * chance:g} %",
            (1, factor * chance),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color="#777777",
        )
    axes.set_xlim(left=0)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
