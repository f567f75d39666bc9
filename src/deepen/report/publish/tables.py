"""The tables of a study as Markdown, for pages of results: a function for each, by name in `TABLES`.

verdicts          each arm against the baseline, at each budget
depth-verdicts    the same against the best fixed depth
budgets           the compute multiplier of each arm at each budget
isoflops          the loss of each constant depth at each budget
seeds             each arm's loss with each seed
trials            what was tried for each arm, and what was chosen
tasks             scores on tasks, and their tests against the baseline
facts             model, data, rate, seeds
sentences         the verdicts at the study's budget in words

Tables of several studies, in `GROUP_TABLES`:

best-depths       the best constant depth of each
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deepen.report.intervals import (
    confidence_text,
    interval_text,
    multiplier_interval_text,
    multiplier_text,
    seconds_interval_text,
    seconds_multiplier_text,
)
from deepen.report.layout import accounting_note, sort_verdicts, task_title, task_unit
from deepen.report.page.facts import list_facts
from deepen.report.page.seed_rows import make_seed_rows
from deepen.report.publish.depth_tables import best_depth_table, isoflop_table
from deepen.report.publish.markdown import MarkdownTable, Sentences, escape_markdown
from deepen.report.summary.averages import AveragedMark
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.report.units import UNKNOWN, count, decimal_places, fixed, signed
from deepen.study.results.schema import Results, Verdict
from deepen.study.results.tuning import TunedArm

_MACHINE_FACTS = ("Machine", "Wall clock")
"""Facts that do not describe the result."""


def verdict_table(study: StudySummary) -> MarkdownTable | None:
    """Each arm against the baseline at each budget; None if nothing is compared."""
    verdicts = sort_verdicts(study)
    if not verdicts:
        return None
    places = decimal_places([v.difference for v in verdicts if v.difference is not None])
    confidence = confidence_text(study.noise.confidence)
    several = len({verdict.budget_share for verdict in verdicts if verdict.is_exact}) > 1
    budgets = sorted({verdict.budget_share or 1.0 for verdict in verdicts}, key=lambda share: (share != 1, share))
    rows: list[tuple[str, ...]] = []
    for share in budgets:
        base = _find_mark(study, share)
        if base is not None and study.baseline is not None:
            loss = fixed(base.val.mean if base.val else None)
            name = escape_markdown(study.baseline.name)
            rows.append((name, _budget_text(study, share), loss, "", "", "", count(base.tokens), "baseline", ""))
        rows += [_verdict_row(study, v, places) for v in verdicts if (v.budget_share or 1.0) == share]
    return MarkdownTable(
        columns=(
            "arm",
            _budget_unit(study) if several else "",
            "loss",
            f"difference ({confidence}, all arms together)",
            "compute multiplier",
            "in seconds",
            "tokens",
            "outcome",
            "constant depths not beaten",
        ),
        rows=rows if several else [(row[0], "", *row[2:]) for row in rows],
        text_columns=("outcome", "constant depths not beaten"),
    )


def _find_mark(study: StudySummary, share: float) -> AveragedMark | None:
    """The baseline's mark at a budget."""
    marks = study.baseline.marks if study.baseline else ()
    exact = [mark for mark in marks if mark.is_exact and mark.budget_share is not None]
    return min(exact, key=lambda mark: abs((mark.budget_share or 0.0) - share), default=None)


def _budget_text(study: StudySummary, share: float) -> str:
    ratio = study.regime.tokens_per_parameter
    return f"{share:.2f} ×" if ratio is None else f"{share * ratio:.3g}"


def _budget_unit(study: StudySummary) -> str:
    return "the budget" if study.regime.tokens_per_parameter is None else "tokens per parameter"


def _verdict_row(study: StudySummary, verdict: Verdict, places: int) -> tuple[str, ...]:
    note = "" if verdict.is_exact else f", {accounting_note(verdict)}"
    control = ", control" if study.is_control(verdict) else ""
    return (
        escape_markdown(verdict.arm) + note + control,
        _budget_text(study, verdict.budget_share or 1.0),
        fixed(verdict.loss),
        _with_interval(signed(verdict.difference, places), interval_text(verdict.interval, places)),
        _multiplier_cell(verdict),
        _seconds_cell(verdict),
        count(verdict.tokens),
        str(verdict.outcome or "") if verdict.is_exact else "",
        _depths_cell(verdict),
    )


def _depths_cell(verdict: Verdict) -> str:
    """The constant depths that an arm which grows does not beat; empty if only one was measured."""
    if not verdict.has_other_depths:
        return ""
    if verdict.depths_not_beaten:
        return ", ".join(
            escape_markdown(depth) + (" (better)" if depth in verdict.depths_better else "")
            for depth in verdict.depths_not_beaten
        )
    at_edge = ", ".join(map(escape_markdown, verdict.depths_at_edge))
    return f"none (rate at the edge: {at_edge})" if at_edge else "none"


def _multiplier_cell(verdict: Verdict) -> str:
    """A multiplier with its interval; a bound is the end of one, and stands alone."""
    interval = "" if verdict.multiplier_bound else multiplier_interval_text(verdict)
    return _with_interval(multiplier_text(verdict), interval)


def _seconds_cell(verdict: Verdict) -> str:
    interval = "" if verdict.multiplier_bound else seconds_interval_text(verdict)
    return _with_interval(seconds_multiplier_text(verdict), interval)


def _with_interval(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval and value != UNKNOWN else value


def depth_verdict_table(study: StudySummary) -> MarkdownTable | None:
    """Each arm against the best fixed depth; None if the study has none."""
    return verdict_table(study.against_best_depth) if study.against_best_depth else None


def budget_table(study: StudySummary) -> MarkdownTable | None:
    """The multiplier of each arm at each budget, or its difference where none is claimed."""
    verdicts = [v for v in sort_verdicts(study) if v.is_exact and v.difference is not None]
    shares = sorted({v.budget_share or 1.0 for v in verdicts})
    if not verdicts:
        return None
    found = {(v.arm, v.budget_share or 1.0): v for v in verdicts}
    return MarkdownTable(
        columns=("arm", *(f"{_budget_text(study, share)} {_budget_unit(study)}" for share in shares)),
        rows=[
            (escape_markdown(arm), *(_budget_cell(found.get((arm, share))) for share in shares))
            for arm in dict.fromkeys(v.arm for v in verdicts)
        ],
    )


def _budget_cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    if verdict.compute_multiplier is None:
        return f"{signed(verdict.difference)} nats ({interval_text(verdict.interval, 3)})"
    return _multiplier_cell(verdict)


def seed_table(study: StudySummary) -> MarkdownTable | None:
    """Each arm's loss at equal compute with each seed, and the mean; None with fewer than two seeds."""
    rows = make_seed_rows(study)
    seeds = [f"seed {seed}" for seed in study.baseline.losses_at_equal_compute] if study.baseline else []
    if not rows:
        return None
    return MarkdownTable(
        columns=("arm", *seeds, "mean", "mean difference"),
        rows=[(escape_markdown(row.arm), *row.losses, row.differences[-1]) for row in rows],
    )


def trial_table(study: StudySummary) -> MarkdownTable | None:
    """The trials of each arm and each depth, and the choice; None in a study without trials."""
    if study.tuning is None or not study.tuning.arms:
        return None
    return MarkdownTable(
        columns=("arm", "trials", "rates", "losses", "chosen rate", "chosen options", "at the edge"),
        rows=[_trial_row(arm) for arm in study.tuning.arms],
        text_columns=("chosen options", "at the edge"),
    )


def _trial_row(arm: TunedArm) -> tuple[str, ...]:
    peaks = sorted({trial.peak for trial in arm.trials if trial.peak is not None})
    losses = [trial.loss for trial in arm.trials if trial.loss is not None]
    best = ", best fixed depth" if arm.is_best_fixed_depth else ""
    edges = ["rate"] if arm.at_edge else []
    return (
        escape_markdown(arm.name) + best,
        str(len(arm.trials)),
        _ends([f"{peak:g}" for peak in peaks]),
        _ends([fixed(min(losses)), fixed(max(losses))]) if losses else "",
        "" if arm.chosen_peak is None else f"{arm.chosen_peak:g}",
        escape_markdown(", ".join(f"{name} {value}" for name, value in arm.chosen_options.items())),
        ", ".join([*edges, *arm.options_at_edge]),
    )


def _ends(values: Sequence[str]) -> str:
    ends = dict.fromkeys([values[0], values[-1]]) if values else {}
    return " to ".join(ends)


def task_table(study: StudySummary) -> MarkdownTable | None:
    """The scores of each arm at equal compute, with the difference from the baseline; None without tasks."""
    marks = {arm.name: arm.mark_at_equal_compute for arm in study.arms}
    tasks = list(dict.fromkeys(task for mark in marks.values() if mark for task in mark.tasks))
    if not tasks:
        return None
    verdicts = {verdict.arm: verdict for verdict in study.exact_verdicts}
    rows = [
        (escape_markdown(arm), *(cell for task in tasks for cell in _task_cells(mark, verdicts.get(arm), task)))
        for arm, mark in marks.items()
        if mark is not None
    ]
    columns = [
        column
        for task in tasks
        for column in (task_unit(task)[1], f"{task_title(task)}: difference (corrected p-value)")
    ]
    return MarkdownTable(columns=("arm", *columns), rows=rows)


def _task_cells(mark: AveragedMark, verdict: Verdict | None, task: str) -> tuple[str, str]:
    factor, _ = task_unit(task)
    score, test = mark.tasks.get(task), verdict.task_tests.get(task) if verdict else None
    error = f" ± {fixed(factor * score.stderr, 2)}" if score and score.stderr is not None else ""
    value = f"{fixed(factor * score.value, 2)}{error}" if score else ""
    if test is None or test.difference is None:
        return value, ""
    p = "" if test.p_holm is None else f" ({test.p_holm:.2g})"
    return value, f"{signed(factor * test.difference, 2)}{p}"


def fact_table(study: StudySummary) -> MarkdownTable | None:
    """Model, data, rate, seeds."""
    facts = [(label, escape_markdown(value)) for label, value in list_facts(study) if label not in _MACHINE_FACTS]
    return MarkdownTable(columns=("fact", "value"), rows=facts, text_columns=("value",)) if facts else None


def list_sentences(study: StudySummary) -> Sentences | None:
    """The verdicts at the study's budget in words; None if nothing is compared."""
    found = [escape_markdown(verdict.sentence) for verdict in study.exact_verdicts if verdict.sentence]
    return Sentences(tuple(found)) if found else None


@dataclass(frozen=True, slots=True)
class TableKind:
    """A table that a page can have: its title, and the function that makes it, or finds None without content."""

    title: str
    make: Callable[[Results], MarkdownTable | Sentences | None]


def _averaged(title: str, make: Callable[[StudySummary], MarkdownTable | Sentences | None]) -> TableKind:
    """A table of averages over seeds."""
    return TableKind(title, lambda results: make(summarize(results)))


TABLES: Mapping[str, TableKind] = {
    "verdicts": _averaged("Each arm against the baseline, at equal compute", verdict_table),
    "depth-verdicts": _averaged("Each arm against the best fixed depth, at equal compute", depth_verdict_table),
    "budgets": _averaged("Compute multiplier at each budget", budget_table),
    "isoflops": TableKind("Loss of each constant depth at each budget", isoflop_table),
    "seeds": _averaged("Loss with each seed", seed_table),
    "trials": _averaged("What was tried, and what was chosen", trial_table),
    "tasks": _averaged("Tasks", task_table),
    "facts": _averaged("Facts", fact_table),
    "sentences": _averaged("The verdicts in words", list_sentences),
}
"""The tables of a study by name."""

GROUP_TABLES: Mapping[str, Callable[[Sequence[Results]], MarkdownTable | None]] = {
    "best-depths": best_depth_table,
}
"""The tables of several studies by name."""
