"""The numbers of a study as CSV files, for tables and plots of the reader's own.

    curves.csv      one line per arm, seed and point of its curve
    tasks.csv       one line per arm, seed and score during training
    marks.csv       one line per arm, seed and mark
    verdicts.csv    one line per verdict

Columns have the names of the keys in results.json; a pair has two columns, such as `interval_low` and
`interval_high`, and a task at a mark has columns such as `hellaswag_value`. What is unknown is empty.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepen.report.files import write_file
from deepen.study.results.records import Record
from deepen.study.results.schema import ArmResult, MarkResult, Results

PAIRS = (
    "interval",
    "interval_own_seeds",
    "interval_bootstrap",
    "multiplier_interval",
    "multiplier_interval_bounds",
)


def write_data_files(results: Results, folder: Path) -> tuple[str, ...]:
    """Write the files into a folder and return their names; a file without lines is left out."""
    tables = {
        "curves.csv": _lines(results.arms, "curve"),
        "tasks.csv": _lines(results.arms, "tasks"),
        "marks.csv": _lines(results.arms, "marks"),
        "verdicts.csv": [_flatten(verdict) for verdict in results.verdicts],
    }
    written = {name: lines for name, lines in tables.items() if lines}
    for name, lines in written.items():
        write_file(folder / name, _to_csv(lines).encode("utf-8"))
    return tuple(written)


def _lines(arms: Sequence[ArmResult], field: str) -> list[dict[str, Any]]:
    """The entries of a field of all arms, each with its arm and seed."""
    return [{"arm": arm.name, "seed": arm.seed} | _flatten(entry) for arm in arms for entry in arm[field]]


def _flatten(record: Record) -> dict[str, Any]:
    """The columns of a record: numbers, strings, and the two ends of pairs."""
    columns = {}
    for key, value in record.to_json().items():
        if key in PAIRS:
            columns[f"{key}_low"], columns[f"{key}_high"] = value or (None, None)
        elif not isinstance(value, dict | list):
            columns[key] = value
    if isinstance(record, MarkResult):
        for task, score in record.tasks.items():
            columns |= {f"{task}_value": score.value, f"{task}_n": score.n, f"{task}_stderr": score.stderr}
    return columns


def _to_csv(lines: Sequence[dict[str, Any]]) -> str:
    columns = dict.fromkeys(column for line in lines for column in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
