"""The static figure of a task: accuracy against steps, with standard errors over examples and chance level."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepen.report.layout import chance_level, legend_label, task_title
from deepen.report.style import LINE_STYLES
from deepen.report.summary import StudySummary


def draw_task(study: StudySummary, task: str) -> Figure:
    """Draw the accuracy of all arms on a task."""
    figure = Figure(figsize=(6.4, 3.7), layout="constrained")
    axes = figure.subplots()
    for arm in reversed(study.arms):  # the baseline last, on top
        scores = arm.tasks.get(task, ())
        axes.errorbar(
            [score.step for score in scores],
            [100 * score.value for score in scores],
            [100 * (score.stderr or 0.0) for score in scores],
            color=arm.colour,
            linestyle=LINE_STYLES[arm.dash],
            marker="o",
            markersize=3.5,
            lw=1.3,
            elinewidth=0.7,
        )
    chance = chance_level(task)
    if chance is not None:
        axes.axhline(100 * chance, color="#777777", lw=1, linestyle="--")
        axes.annotate(
            f"chance, {100 * chance:g} %",
            (1, 100 * chance),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color="#777777",
        )
    axes.set_xlabel("step")
    axes.set_ylabel(f"{task_title(task)} accuracy (%)")
    arms = [arm for arm in study.arms if task in arm.tasks]
    handles = [Line2D([], [], color=arm.colour, linestyle=LINE_STYLES[arm.dash], lw=2) for arm in arms]
    figure.legend(
        handles, [legend_label(arm.name) for arm in arms], loc="outside lower left", ncols=4, columnspacing=1.6
    )
    return figure
