"""The results of a study on a terminal: the finding, how far to trust it, and the tables of the page."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from deepen.cli.output.tables import Column, numbers, print_lines, print_sentences, print_table, text
from deepen.report.intervals import confidence_text
from deepen.report.page.rows import UnfinishedRow, make_rows, make_unfinished_rows
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.report.units import capitalized, counted, duration
from deepen.report.words.compute import describe_withheld
from deepen.report.words.finding import describe_finding
from deepen.report.words.introduction import describe_budget, describe_sharing
from deepen.schedule.recipes import BASELINE
from deepen.study.results.schema import Results

_VERDICT_COLUMNS = {
    "arm": text("arm"),
    "budget": numbers("budget"),
    "loss": numbers("loss"),
    "difference": numbers("difference"),
    "interval": numbers("interval"),
    "multiplier": numbers("multiplier"),
    "multiplier_interval": numbers("its interval"),
    "seconds_multiplier": numbers("in seconds"),
    "flops_ratio": numbers("FLOPs"),
    "tokens": numbers("tokens"),
    "seconds": numbers("time"),
    "memory": numbers("peak memory"),
    "outcome": text("outcome"),
}
_DROPPABLE = ("its interval", "peak memory", "time", "tokens", "FLOPs", "in seconds")
_MULTIPLIER = (
    "The multiplier is the compute that the baseline needs to reach an arm's loss, divided by the compute that "
    "the arm used: above 1, the arm saves compute. ≥ and ≤: only a bound is known."
)
_UNFINISHED_COLUMNS = {
    "arm": text("arm"),
    "seed": numbers("seed"),
    "trained": numbers("compute trained"),
    "tokens": numbers("tokens"),
    "seconds": numbers("time"),
    "val_loss": numbers("validation loss"),
    "train_loss": numbers("training loss"),
}


def print_results(results: Results, out: Path) -> None:
    """Print the finding of a study, how far to trust it, its tables, and where the report is."""
    study = summarize(results)
    finding = describe_finding(study)
    print_sentences([*filter(None, (finding.headline, finding.progress, *finding.limits)), ""])
    if study.verdicts and finding.caveats:
        print_sentences(["How far to trust this:"])
        print_sentences([*(f"- {caveat}" for caveat in finding.caveats), ""], indent=2)
    if study.is_single_arm:
        budget = describe_budget(study)
        print_sentences([f"{finding.found} {capitalized(budget)}." if budget else finding.found])
        _print_hint(results)
    if not study.is_single_arm:
        _print_verdicts(study.name, study)
    if study.against_best_depth:
        best = study.against_best_depth.baseline_words
        _print_verdicts(f"{study.name}, against the best fixed depth, {best}", study.against_best_depth)
    if study.verdicts:
        withheld = describe_withheld(study.exact_verdicts)
        print_sentences([_MULTIPLIER, *withheld, _describe_intervals(study), ""])
    _print_unfinished(f"{study.name}: unfinished runs, with their last losses", make_unfinished_rows(study))
    print_sentences(filter(None, (describe_sharing(study), f"Wall time: {duration(study.regime.wall_seconds)}.")))
    print_report(out)


def print_arm(results: Results, out: Path) -> None:
    """Print where the only arm of a study ended, or how far it is, and where its state and its report are."""
    (arm,) = results.arms
    study = summarize(results)
    if arm.marks:
        mark, budget = arm.marks[0], describe_budget(study)
        spent = f"{counted(mark.step or 0, 'step')}, {counted(mark.tokens, 'token')}, {mark.flops:.4g} FLOPs"
        print_sentences([
            f"{arm.name}: {spent}, {mark.seconds:.0f} s; training loss {mark.train_loss:.4f}, "
            f"validation loss {mark.val_loss:.4f}"
            + (f" ({budget})" if budget else "")
        ])  # fmt: skip
        _print_hint(results)
    else:
        _print_unfinished("unfinished", make_unfinished_rows(study))
    if arm.segments:
        print_lines([f"State: {out / 'segments' / arm.segments[-1] / 'state'}"])
    print_report(out)


def _print_hint(results: Results) -> None:
    """Print how to compare the only arm of a study."""
    if results.arms[0].name == results.baseline and results.arms[0].recipe != BASELINE.name:
        print_sentences(["To compare it with full training at equal compute, add --against full"])


def print_report(out: Path) -> None:
    """Print where the page is."""
    print_lines([f"Report: {out / 'report' / 'index.html'}"])


def _print_verdicts(title: str, study: StudySummary) -> None:
    """Print a table of verdicts at equal exact FLOPs, and one for each other mark, which is named."""
    for mark, group in groupby(sorted(make_rows(study), key=lambda row: row.mark), key=lambda row: row.mark):
        rows = list(group)
        where = f"equal exact FLOPs, {mark}" if rows[0].is_exact else f"{mark}, where exact FLOPs are not equal"
        whole = f"{title}: validation loss at {where if mark else 'equal exact FLOPs'}"
        _print_rows(whole, _VERDICT_COLUMNS, rows, _DROPPABLE)


def _describe_intervals(study: StudySummary) -> str:
    """What the intervals of the tables promise."""
    noise = study.noise
    if noise.critical_value is None or noise.arms < 2:
        return f"Intervals have {confidence_text(noise.confidence)}."
    return f"Intervals hold together with {confidence_text(noise.confidence)} in each table."


def _print_unfinished(title: str, rows: Sequence[UnfinishedRow]) -> None:
    if rows:
        _print_rows(title, _UNFINISHED_COLUMNS, rows, ("time", "tokens"))


def _print_rows(title: str, columns: dict[str, Column], rows: Sequence[Any], droppable: Sequence[str]) -> None:
    """Print rows of the page; columns without content are left out."""
    filled = {field: column for field, column in columns.items() if any(getattr(row, field) for row in rows)}
    cells = [[getattr(row, field).replace("−", "-") for field in filled] for row in rows]
    print_table(title, list(filled.values()), cells, droppable=droppable)
