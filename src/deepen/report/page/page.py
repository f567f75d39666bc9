"""The page of a report: a self-contained HTML file that escapes every string and fetches nothing."""

import json
from collections.abc import Sequence

from plotly.offline import get_plotlyjs

from deepen.compute.accounting import PAPER
from deepen.report import units
from deepen.report.figures.budgets import BUDGET_PANELS, budget_chart, has_several_budgets
from deepen.report.figures.curves import loss_chart, task_chart
from deepen.report.figures.depths import collect_depths
from deepen.report.figures.depths_figure import depths_chart
from deepen.report.figures.excess_figure import excess_chart
from deepen.report.figures.strips import STRIP_WIDTH, draw_strips
from deepen.report.figures.tuning import PANEL_HEIGHT, PANEL_WIDTH, draw_tuning
from deepen.report.intervals import confidence_text
from deepen.report.layout import task_title
from deepen.report.page.config import STUDY_FILE
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
from deepen.study.results.regime import Regime
from deepen.study.results.results_file import RESULTS_FILE

_RATE_NAMES = {"wsd": "warm-up, stable, decay", "cosine": "cosine decay", "constant": "constant"}
MAX_FACT_LENGTH = 160


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
    charts = {f"task{i}": task_chart(study, task) for i, task in enumerate(study.task_names)}
    charts["loss"] = loss_chart(study)
    budgets = [*BUDGET_PANELS.items()] if has_several_budgets(study) else []
    charts |= {panel: budget_chart(study, panel) for panel, _ in budgets}
    depths = collect_depths(study)
    charts |= {"depths": depths_chart(depths)} if depths.is_drawn else {}
    charts |= {f"excess-{panel}": excess_chart(study, panel) for panel in PANELS if study.excess}
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
        budgets=budgets,
        excess=[(f"excess-{panel}", title) for panel, title in PANELS.items() if study.excess],
        excess_sentences=[describe_excess(excess) for excess in study.excess],
        facts=_facts(study),
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
        charts=_encode_for_script(charts),
        plotly_js=get_plotlyjs(),
    )


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


def _facts(study: StudySummary) -> list[tuple[str, str]]:
    """Labels and values of the known facts about a study."""
    regime, data = study.regime, study.regime.data
    seeds = study.baseline.seeds if study.baseline else ()
    facts = [
        ("Model", regime.model),
        (
            "Shape",
            f"{units.counted(regime.depth, 'block')}, width {regime.width}"
            if regime.depth and regime.width
            else "",
        ),
        ("Parameters", _count(regime.parameters)),
        ("… without embeddings", _count(regime.parameters_non_embedding)),
        ("Context, vocabulary", _pair(regime.context, regime.vocab)),
        (
            "Tokens of full training" if study.is_single_arm else "Baseline tokens",
            _count(regime.baseline_tokens),
        ),
        ("Tokens per parameter", f"{regime.tokens_per_parameter:.3g}" if regime.tokens_per_parameter else ""),
        ("Batch", units.counted(regime.batch_tokens, "token") if regime.batch_tokens else ""),
        ("Learning rate", describe_rate(regime)),
        ("Precision", regime.precision),
        ("Seeds", ", ".join(str(seed) for seed in seeds)),
        ("Data", data.name),
        ("Training tokens in the data", _count(data.train_tokens)),
        ("Validation tokens", _count(data.mark_tokens or data.validation_tokens)),
        ("Validation tokens along curves", _count(data.validation_tokens if data.mark_tokens else None)),
        ("Epochs" if study.is_single_arm else "Epochs, longest arm", _fixed(data.epochs, 2)),
        ("Attention priced as", regime.attention_flops),
        ("Machine", regime.machine),
        ("Wall clock", units.duration(regime.wall_seconds) if regime.wall_seconds else ""),
        ("deepen", study.version),
    ]
    return [(label, units.cut(value, MAX_FACT_LENGTH)) for label, value in facts if value]


def describe_rate(regime: Regime) -> str:
    """Shape, peak, warm-up and decay of the rate, as far as they are known."""
    parts = [_RATE_NAMES.get(regime.rate, regime.rate)]
    parts += [f"peak {regime.peak_lr:g}"] if regime.peak_lr else []
    parts += [f"warm-up {units.counted(regime.warmup_tokens, 'token')}"] if regime.warmup_tokens else []
    if regime.decay_tokens:
        parts.append(f"{regime.decay_shape} decay over the last {units.counted(regime.decay_tokens, 'token')}")
    elif regime.decay_share:
        share = f"{100 * regime.decay_share:.3g} % of the {regime.decay_in}"
        parts.append(f"{regime.decay_shape} decay over the last {share}")
    parts += [f"down to {100 * regime.final_share:.3g} % of the peak"] if regime.final_share is not None else []
    return ", ".join(parts)


def _count(value: float | None) -> str:
    return "" if value is None else units.count(value)


def _fixed(value: float | None, places: int) -> str:
    return "" if value is None else units.fixed(value, places)


def _pair(context: int | None, vocab: int | None) -> str:
    return f"{context:,}, {vocab:,}" if context and vocab else ""
