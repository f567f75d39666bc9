"""The verdicts as one table for a paper: LaTeX, beside the CSV that `data_files` writes.

    arm        baseline   d        joint interval       M      interval        n   df
    one-shot   full       −0.042   [−0.080, −0.004]     1.22   [1.02, 1.77]    2   2.5

It has the arms at equal exact FLOPs and at the study's budget, against each baseline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepen.report.files import write_file
from deepen.report.intervals import Bounds, claimed_multiplier, confidence_text, find_limit
from deepen.study.results.records import Record
from deepen.study.results.schema import Bound, Interval, Results, Verdict

LATEX_FILE = "paper-table.tex"

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_SIGNS = {"≥": r"\ge ", "≤": r"\le "}
_COLUMNS = ("arm", "baseline", "$d$ (nats)", "interval", "$M$", "interval", "$M$ (seconds)", "$n$", "df")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRow(Record):
    """A line of the table; fields as in `Verdict`. `interval` is the joint one."""

    arm: str
    baseline: str
    is_control: bool
    difference: float | None
    interval: Interval | None
    confidence: float | None
    compute_multiplier: float | None
    multiplier_bound: Bound | None
    multiplier_interval: Interval | None
    multiplier_interval_bounds: Bounds | None
    seconds_multiplier: float | None
    n_seeds: int
    degrees_of_freedom: float | None


def make_paper_rows(results: Results) -> tuple[PaperRow, ...]:
    """The lines of the table, against the baseline and then against the best fixed depth."""
    controls = {arm.name for arm in results.arms if arm.is_control}
    return tuple(
        PaperRow(
            arm=v.arm,
            baseline=v.baseline or results.baseline,
            is_control=v.arm in controls,
            difference=v.difference,
            interval=v.interval,
            confidence=v.confidence,
            compute_multiplier=claimed_multiplier(v),
            multiplier_bound=v.multiplier_bound,
            multiplier_interval=v.multiplier_interval,
            multiplier_interval_bounds=v.multiplier_interval_bounds,
            seconds_multiplier=v.seconds_multiplier,
            n_seeds=v.n_seeds,
            degrees_of_freedom=v.degrees_of_freedom,
        )
        for v in (*results.verdicts, *results.depth_verdicts)
        if _is_in_table(v)
    )


def _is_in_table(verdict: Verdict) -> bool:
    return verdict.is_exact and verdict.is_whole_budget and verdict.difference is not None


def write_latex(results: Results, folder: Path) -> tuple[str, ...]:
    """Write the table as `paper-table.tex` into a folder, if it has lines, and return the names of the files."""
    rows = make_paper_rows(results)
    if rows:
        write_file(folder / LATEX_FILE, to_latex(rows).encode())
    return (LATEX_FILE,) if rows else ()


def to_latex(rows: Sequence[PaperRow]) -> str:
    """The table as a LaTeX `tabular`, with a comment that explains it; it needs no package."""
    confidence = confidence_text(rows[0].confidence if rows else None)
    lines = [
        "% d: validation loss minus the baseline's at equal exact FLOPs, in nats per token, mean over n seeds.",
        f"% Intervals hold jointly with {confidence.replace(' %', ' per cent')}. M: the compute that the baseline",
        "% needs for the arm's loss, divided by the arm's; bounds where it lies beyond the measured budgets.",
        r"\begin{tabular}{llrrrrrrr}",
        r"\hline",
        " & ".join(_COLUMNS) + r" \\",
        r"\hline",
        *(" & ".join(_cells(row)) + r" \\" for row in rows),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _cells(row: PaperRow) -> tuple[str, ...]:
    return (
        escape_latex(row.arm) + (" (control)" if row.is_control else ""),
        escape_latex(row.baseline),
        _number(row.difference, "+.4f"),
        _interval(row.interval, (None, None), "+.4f"),
        _factor(row.compute_multiplier, row),
        _interval(row.multiplier_interval, row.multiplier_interval_bounds or (None, None), ".2f"),
        _factor(row.seconds_multiplier, row),
        str(row.n_seeds),
        _number(row.degrees_of_freedom, ".1f"),
    )


def escape_latex(text: str) -> str:
    """A name as LaTeX sets it; at the start of a row, `[` and `*` would be arguments of the row before."""
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped.startswith(("[", "*")) else escaped


def _number(value: float | None, form: str) -> str:
    return "--" if value is None else f"${value:{form}}$"


def _factor(value: float | None, row: PaperRow) -> str:
    _, sign = find_limit(row.multiplier_bound, row.multiplier_interval_bounds)
    return "--" if value is None else f"${_SIGNS.get(sign, sign)}{value:.2f}$"


def _interval(interval: Interval | None, bounds: Bounds, form: str) -> str:
    if interval is None:
        return "--"
    signs = {Bound.ABOVE: "{>}", Bound.BELOW: "{<}", None: ""}
    ends = (f"{signs[bound]}{end:{form}}" for bound, end in zip(bounds, interval, strict=True))
    return f"$[{', '.join(ends)}]$"
