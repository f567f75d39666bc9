"""The static figures, for papers: PNG at 200 dpi and SVG, reproducible to the byte.

PNG figures are white; SVG figures are dark in a browser that prefers dark (see `dark_svg`).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from deepen.evaluate.registry import TASKS
from deepen.report.figures.budgets import draw_budgets, has_several_budgets
from deepen.report.figures.dark_svg import follow_screen
from deepen.report.figures.depths import collect_depths
from deepen.report.figures.depths_figure import draw_depths
from deepen.report.figures.excess_figure import draw_excess
from deepen.report.figures.forest import draw_forest
from deepen.report.figures.loss_figure import draw_losses, draw_overview
from deepen.report.figures.save import encode_figure
from deepen.report.figures.strips import draw_strips
from deepen.report.figures.strips_figure import draw_strips_figure
from deepen.report.figures.task_figure import draw_losses_and_task, draw_task
from deepen.report.figures.tuning import draw_tuning
from deepen.report.figures.tuning_figure import draw_tuning_figure
from deepen.report.files import write_file
from deepen.report.layout import LOSSES, sort_verdicts
from deepen.report.style import MATPLOTLIB
from deepen.report.summary.study_summary import StudySummary


def write_figures(study: StudySummary, folder: Path) -> tuple[str, ...]:
    """Draw all figures into a folder and return the names of the files."""
    written: list[str] = []
    with matplotlib.rc_context(MATPLOTLIB):
        for name, figure in draw_figures(study):
            written += _save(figure, folder, name)
        written += _save(draw_overview(study), folder, "overview", formats=("png",))
    return tuple(written)


def draw_figures(study: StudySummary) -> Iterator[tuple[str, Figure]]:
    """Draw each figure that the study has something for, with its name; under the settings `MATPLOTLIB`."""
    if (strips := draw_strips(study)).strips:
        yield "arms", draw_strips_figure(strips)
    for kind, title in LOSSES.items():
        yield title.replace(" ", "-"), draw_losses(study, kind)
    if not study.is_single_arm:
        yield "verdicts", _draw_verdicts(study)
    if has_several_budgets(study):
        yield "budgets", draw_budgets(study)
    if study.against_best_depth:
        yield "verdicts-against-best-depth", _draw_verdicts(study.against_best_depth)
    if (depths := collect_depths(study)).is_drawn:
        yield "loss-against-depth", draw_depths(depths)
    if draw_tuning(study).panels:
        yield "loss-against-rate", draw_tuning_figure(study)
    if study.excess:
        yield "excess-loss-since-growth", draw_excess(study)
    for task in study.task_names:
        name = _task_file_name(task)
        yield name, draw_task(study, task)
        yield f"losses-and-{name}", draw_losses_and_task(study, task)


def _draw_verdicts(study: StudySummary) -> Figure:
    rows = max(1, len(sort_verdicts(study)))
    figure = Figure(figsize=(7.2, 1.3 + 0.3 * rows), layout="constrained")
    draw_forest(figure.subplots(), study)
    return figure


def _task_file_name(task: str) -> str:
    """A safe file name: no task name from results.json can lead to another folder or overwrite another figure."""
    slug = re.sub(r"[^a-z0-9]+", "-", task.lower()).strip("-")
    return slug if task in TASKS else f"task-{slug}"


def _save(figure: Figure, folder: Path, name: str, formats: Sequence[str] = ("png", "svg")) -> list[str]:
    for kind in formats:
        content = encode_figure(figure, kind)
        if kind == "svg":
            content = follow_screen(content.decode()).encode()
        write_file(folder / f"{name}.{kind}", content)
    return [f"{name}.{kind}" for kind in formats]
