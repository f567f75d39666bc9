"""The page of a report: a self-contained HTML file that escapes every string and fetches nothing."""

import json
from collections.abc import Sequence
from typing import Any

from plotly.offline import get_plotlyjs

from deepen.compute.accounting import PAPER
from deepen.report.figures.budgets import BUDGET_PANELS, budget_chart, has_several_budgets
from deepen.report.figures.curves import loss_chart, task_chart
from deepen.report.figures.depths import Depths, collect_depths
from deepen.report.figures.depths_figure import depths_chart
from deepen.report.figures.excess_figure import excess_chart
from deepen.report.figures.strips import STRIP_WIDTH, draw_strips
from deepen.report.figures.tuning import PANEL_HEIGHT, PANEL_WIDTH, draw_tuning
from deepen.report.intervals import confidence_text
from deepen.report.layout import task_title
from deepen.report.page.config import STUDY_FILE
from deepen.report.page.facts import list_facts
from deepen.report.page.rows import DRAWING_WIDTH, DrawnRange, Row, make_rows, make_unfinished_rows
from deepen.report.page.seed_rows import make_seed_rows
from deepen.report.roles import ADDED_COLOUR, ROLE_STYLES
from deepen.report.style import DARK, themed, variable_name
from deepen.report.summary.excess import PANELS, describe_excess
from deepen.report.summary.study_summary import StudySummary
from deepen.report.templates import make_environment
from deepen.report.words.compute import describe_withheld
from deepen.report.words.decided import describe_procedure
from deepen.report.words.finding import describe_finding
from deepen.report.words.introduction import describe_comparison, describe_sharing, describe_validation_text
from deepen.report.words.tasks import describe_task_tests
from deepen.report.words.terms import TermLinks, anchor
from deepen.study.results.results_file import RESULTS_FILE


def render_page(
    study: StudySummary, figures: Sequence[str], data_files: Sequence[str] = (), config: str = ""
) -> str:
    """Render the page as HTML.

    Args:
        study: the summary of the study.
        figures: names of the files in `figures/`.
        data_files: names of the CSV files beside the page.
        config: the definition of the study, from study.json; empty without that file.
    """
    environment = make_environment("deepen.report.page")
    environment.filters |= {"themed": themed, "variable_name": variable_name, "anchor": anchor}
    links = TermLinks()
    environment.globals["term"] = links.link
    depths = collect_depths(study)
    marks = [mark for arm in study.arms for mark in arm.marks]
    baseline_marks = study.baseline.marks if study.baseline else ()
    return environment.get_template("page.html.j2").render(
        study=study,
        dark_colours=DARK,
        links=links,
        role_styles=ROLE_STYLES,
        added_colour=ADDED_COLOUR,
        strips=draw_strips(study),
        strip_width=STRIP_WIDTH,
        depths=depths,
        tuning=draw_tuning(study),
        panel_width=PANEL_WIDTH,
        panel_height=PANEL_HEIGHT,
        finding=describe_finding(study),
        comparison=describe_comparison(study),
        decided=describe_procedure(study),
        comparisons=_comparisons(study),
        withheld=lambda compared: describe_withheld(compared.exact_verdicts),
        seed_rows=() if study.is_single_arm else make_seed_rows(study),
        confidence=confidence_text,
        unfinished=make_unfinished_rows(study),
        drawing_width=DRAWING_WIDTH,
        tasks=[
            (f"task{i}", task_title(name), describe_task_tests(study, name))
            for i, name in enumerate(study.task_names)
        ],
        budgets=BUDGET_PANELS.items() if has_several_budgets(study) else (),
        excess=[(f"excess-{panel}", title) for panel, title in PANELS.items() if study.excess],
        excess_sentences=[describe_excess(excess) for excess in study.excess],
        facts=list_facts(study),
        sharing=describe_sharing(study),
        validation_text=describe_validation_text(study),
        has_paper_marks=any(mark.accounting == PAPER for mark in marks),
        has_other_budgets=any(not mark.is_whole_budget for mark in baseline_marks),
        all_annealed=all(mark.annealed for mark in marks),
        has_marks=bool(marks),
        has_curves=any(arm.curve or arm.marks for arm in study.arms),
        results_file=RESULTS_FILE,
        study_file=STUDY_FILE,
        config=config,
        figures=figures,
        data_files=data_files,
        charts=_encode_for_script(_charts(study, depths)),
        plotly_js=get_plotlyjs(),
    )


def _charts(study: StudySummary, depths: Depths) -> dict[str, Any]:
    """The charts of the page as plotly's JSON, by the names that the sections use."""
    charts = {"loss": loss_chart(study)}
    charts |= {f"task{i}": task_chart(study, task) for i, task in enumerate(study.task_names)}
    if has_several_budgets(study):
        charts |= {panel: budget_chart(study, panel) for panel in BUDGET_PANELS}
    if depths.is_drawn:
        charts["depths"] = depths_chart(depths)
    if study.excess:
        charts |= {f"excess-{panel}": excess_chart(study, panel) for panel in PANELS}
    return charts


def _comparisons(study: StudySummary) -> list[tuple[str, StudySummary, list[Row], DrawnRange]]:
    """The tables of verdicts against each baseline: title, study, rows, and the range of their drawings."""
    if study.is_single_arm:
        return []
    compared = {"Verdicts": study}
    if against_depth := study.against_best_depth:
        compared[f"Verdicts against the best fixed depth, {against_depth.baseline_words}"] = against_depth
    return [(title, each, make_rows(each), DrawnRange(each)) for title, each in compared.items()]


def _encode_for_script(value: object) -> str:
    """Encode JSON so that it cannot end its script element or begin a comment in it."""
    encoded = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return encoded.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
