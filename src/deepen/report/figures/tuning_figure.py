"""The figure of loss against learning rate: a panel for each arm and each constant depth."""

import math
from itertools import groupby

from matplotlib.figure import Figure

from deepen.report.figures.tuning import find_tuned, finished_trials, loss_range, name_options, sort_trials
from deepen.report.layout import legend_label
from deepen.report.style import UNKNOWN_COLOUR
from deepen.report.summary.study_summary import StudySummary

_COLUMNS = 4


def draw_tuning_figure(study: StudySummary) -> Figure:
    """The trials of a study; some of them must be finished."""
    arms = find_tuned(study)
    columns = min(_COLUMNS, len(arms))
    rows = math.ceil(len(arms) / columns)
    figure = Figure(figsize=(1.1 + 2.0 * columns, 0.5 + 1.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    rates = [trial.peak or 0.0 for arm in arms for trial in finished_trials(arm)]
    ticks = sorted({min(rates), math.sqrt(min(rates) * max(rates)), max(rates)})
    for axes in panels.flat[len(arms) :]:
        axes.set_visible(False)
    for axes, arm in zip(panels.flat, arms, strict=False):
        shown = study.find_arm(arm.name)
        colour = shown.colour if shown else UNKNOWN_COLOUR
        for _, group in groupby(sort_trials(arm), key=lambda trial: name_options(trial.options)):
            points = [(trial.peak, trial.loss) for trial in group]
            axes.plot(*zip(*points, strict=True), "o-", mfc="white", color=colour, lw=1, ms=3.5)
        if arm.chosen is not None:
            axes.plot([arm.chosen.peak], [arm.chosen.loss], "o", color=colour, ms=5.5)
        axes.set_title(legend_label(arm.name, 16) + (", at the edge" if arm.at_edge else ""), fontsize=7)
        axes.set_xscale("log")
        # Ticks of our own: matplotlib's labels of powers need its math, which names of arms must not use.
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_ylim(*loss_range(arms))
    figure.supxlabel("peak learning rate", fontsize=8)
    figure.supylabel("validation loss (nats per token)", fontsize=8)
    return figure
