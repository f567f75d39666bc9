"""The numbers of a study as tables, for tables and plots of the reader's own: CSV, and Parquet where asked for.

    curves      one line per arm, seed and point of its curve
    tasks       one line per arm, seed and score during training
    marks       one line per arm, seed and mark
    verdicts    one line per verdict, depth-verdicts those against the best fixed depth
    paper-table one line per verdict at equal exact FLOPs: what a paper's table has (`paper_table` writes LaTeX)
    trials      one line per trial that chose a rate, an option or a depth
    excess      one line per arm that grew, seed and point since its last growth

Columns have the names of the keys in results.json; a pair has two columns, such as `interval_low` and
`interval_high`, and a task at a mark has columns such as `hellaswag_value`. What is unknown is empty. A
column has the type of its field, whatever the numbers are: `pandas.read_csv` and `pandas.read_parquet` agree. In
CSV, text that begins like a formula of a spreadsheet has an apostrophe before it.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from deepen.extras import import_extra
from deepen.report.files import write_file
from deepen.report.tables.paper_table import make_paper_rows
from deepen.study.results.excess import excess_since_growth
from deepen.study.results.records import Record
from deepen.study.results.schema import MarkResult, Results
from deepen.study.results.tuning import TrialResult, TunedArm

PAIRS = (
    "interval",
    "interval_alone",
    "interval_own_seeds",
    "multiplier_interval",
    "multiplier_interval_bounds",
    "seconds_multiplier_interval",
)

_NOT_IN_TABLES = ("correct",)
"""Strings of an entry per example, which would make the lines of a table too long to read."""


@dataclass(frozen=True, slots=True)
class Table:
    """Lines with the type of each column: bool, int, float or str."""

    types: dict[str, type]
    lines: list[dict[str, Any]]


def make_tables(results: Results) -> dict[str, Table]:
    """The tables of a study by name; those without lines are left out."""
    tables = {
        name: [(arm.name, arm.seed, entry) for arm in results.arms for entry in arm[field]]
        for name, field in (("curves", "curve"), ("tasks", "tasks"), ("marks", "marks"))
    }
    made = {name: _make_table(_with_run(*entry) for entry in entries) for name, entries in tables.items()}
    tuned = results.tuning.arms if results.tuning else ()
    made["trials"] = _make_table(_with_tuned(arm, trial) for arm in tuned for trial in arm.trials)
    made["excess"] = _make_table(_cells(excess) for excess in excess_since_growth(results))
    made["verdicts"] = _make_table(_cells(verdict) for verdict in results.verdicts)
    made["depth-verdicts"] = _make_table(_cells(verdict) for verdict in results.depth_verdicts)
    made["paper-table"] = _make_table(_cells(row) for row in make_paper_rows(results))
    return {name: table for name, table in made.items() if table.lines}


def write_csv(tables: dict[str, Table], folder: Path) -> tuple[str, ...]:
    """Write each table as `NAME.csv` into a folder, and return the names of the files."""
    return _write(tables, folder, "csv", _to_csv)


def write_parquet(tables: dict[str, Table], folder: Path) -> tuple[str, ...]:
    """Write each table as `NAME.parquet` into a folder, and return the names of the files.

    Raises:
        InvalidValueError: the package that writes Parquet is not installed.
    """
    return _write(tables, folder, "parquet", _to_parquet)


def _write(
    tables: dict[str, Table], folder: Path, suffix: str, encode: Callable[[Table], bytes]
) -> tuple[str, ...]:
    for name, table in tables.items():
        write_file(folder / f"{name}.{suffix}", encode(table))
    return tuple(f"{name}.{suffix}" for name in tables)


Cell = tuple[str, type, Any]
"""A column, its type, and the value in one line."""


def _with_run(arm: str, seed: int, entry: Record) -> Iterator[Cell]:
    yield "arm", str, arm
    yield "seed", int, seed
    yield from _cells(entry)


def _with_tuned(arm: TunedArm, trial: TrialResult) -> Iterator[Cell]:
    yield "arm", str, arm.name
    yield "depth", int, arm.depth
    yield "is_fixed_depth", bool, arm.is_fixed_depth
    yield "options", str, ", ".join(f"{name} {value}" for name, value in trial.options.items())
    yield from _cells(trial)
    yield "is_chosen", bool, trial == arm.chosen


def _cells(record: Record) -> Iterator[Cell]:
    """The cells of a record: numbers, strings, and the two ends of pairs; of a mark also its scores."""
    values = record.to_json()
    for name, kind in _column_types(cast(Any, type(record))).items():
        if name in PAIRS:
            low, high = values[name] or (None, None)
            yield f"{name}_low", kind, low
            yield f"{name}_high", kind, high
        else:
            yield name, kind, values[name]
    if isinstance(record, MarkResult):
        for task, score in record.tasks.items():
            yield from ((f"{task}_{name}", kind, value) for name, kind, value in _cells(score))


@cache
def _column_types(kind: Any) -> dict[str, type]:
    """The types of the fields of a record that fit into cells, by name."""
    hints = get_type_hints(kind)
    types = {field.name: _cell_type(hints[field.name], field.name in PAIRS) for field in fields(kind)}
    return {name: found for name, found in types.items() if found is not None and name not in _NOT_IN_TABLES}


def _cell_type(hint: Any, is_pair: bool) -> type | None:
    """The type of a cell, whose value may be missing; None if it is none of the four."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    known = [each for each in kinds if each is not NoneType]
    if is_pair and len(known) == 1:
        return _cell_type(get_args(known[0])[0], is_pair=False)
    if len(known) != 1 or not isinstance(known[0], type):
        return None
    return next((each for each in (bool, int, float, str) if issubclass(known[0], each)), None)


def _make_table(lines: Iterable[Iterable[Cell]]) -> Table:
    types: dict[str, type] = {}
    rows = []
    for line in lines:
        row = {}
        for name, kind, value in line:
            types.setdefault(name, kind)
            row[name] = None if value is None else kind(value)
        rows.append(row)
    return Table(types, rows)


def _to_csv(table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table.types))
    writer.writerow({name: _without_formula(name) for name in table.types})
    writer.writerows({name: _without_formula(cell) for name, cell in line.items()} for line in table.lines)
    return text.getvalue().encode()


def _without_formula(cell: Any) -> Any:
    """A cell that a spreadsheet takes for text: names in a stranger's file can be formulas."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell


def _without_overflow(cell: Any) -> Any:
    """A cell that fits into 64 bits; an integer that does not is unknown."""
    return None if isinstance(cell, int) and abs(cell) >= 2**63 else cell


def _to_parquet(table: Table) -> bytes:
    arrow = import_extra("pyarrow", extra="data", purpose="writing Parquet")
    parquet = import_extra("pyarrow.parquet", extra="data", purpose="writing Parquet")
    kinds = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in table.types.items()])
    lines = [{name: _without_overflow(cell) for name, cell in line.items()} for line in table.lines]
    content = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(lines, schema=schema), content)
    return content.getvalue()
