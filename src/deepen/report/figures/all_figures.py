"""The static figures, for papers: PNG at 200 dpi and SVG, reproducible to the byte.

PNG figures are white; SVG figures are dark in a browser that prefers dark (see `dark_svg`).
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
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
        for name, draw in list_figures(study).items():
            written += _save(draw(), folder, name)
        written += _save(draw_overview(study), folder, "overview", formats=("png",))
    return tuple(written)


def list_figures(study: StudySummary) -> dict[str, Callable[[], Figure]]:
    """The figures that a study has something for, by name, with what draws each under `MATPLOTLIB`'s settings."""
    found: dict[str, Callable[[], Figure]] = {}
    if (strips := draw_strips(study)).strips:
        found["arms"] = partial(draw_strips_figure, strips)
    for kind, title in LOSSES.items():
        found[title.replace(" ", "-")] = partial(draw_losses, study, kind)
    if not study.is_single_arm:
        found["verdicts"] = partial(_draw_verdicts, study)
    if has_several_budgets(study):
        found["budgets"] = partial(draw_budgets, study)
    if study.against_best_depth:
        found["verdicts-against-best-depth"] = partial(_draw_verdicts, study.against_best_depth)
    if (depths := collect_depths(study)).is_drawn:
        found["loss-against-depth"] = partial(draw_depths, depths)
    if draw_tuning(study).panels:
        found["loss-against-rate"] = partial(draw_tuning_figure, study)
    if study.excess:
        found["excess-loss-since-growth"] = partial(draw_excess, study)
    for task in study.task_names:
        name = _task_file_name(task)
        found[name] = partial(draw_task, study, task)
        found[f"losses-and-{name}"] = partial(draw_losses_and_task, study, task)
    return found


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
