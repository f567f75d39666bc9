"""Tables and sentences on standard output, and the short forms of large numbers.

On a terminal, sentences and cells of text are wrapped between words, and a table that is too wide leaves out the
columns that matter least. A number is never cut. Where a program reads the output, nothing is left out, and only
cells of text are wrapped. Text is printed as it is: a name in [brackets] is not markup.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import TextWrapper

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH_WITHOUT_TERMINAL = 160
_TEXT_WIDTH = 24
"""Columns are left out before a column of text becomes narrower than this, so that most names stay on one line."""
_MIN_TEXT_WIDTH = 12
_GAP = 2


def _console(min_width: int = 0) -> Console:
    """Standard output, as wide as the terminal, or at least as `min_width`."""
    width = Console().width if _is_terminal() else _WIDTH_WITHOUT_TERMINAL
    return Console(width=max(width, min_width), highlight=False)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: text is aligned left and wrapped; numbers are aligned right and never cut."""

    name: str
    is_text: bool = False


def text(name: str) -> Column:
    """A column of text."""
    return Column(name, is_text=True)


def numbers(name: str) -> Column:
    """A column of numbers."""
    return Column(name)


def print_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, droppable: Sequence[str] = ()
) -> None:
    """Print a title, a table, and an empty line.

    Args:
        title: sentences above the table.
        columns: the columns.
        rows: the cells of each row.
        droppable: names of columns to leave out where the terminal is too narrow, the first first; a line below
            the table names them.
    """
    rows, width, dropped = list(rows), _console().width, list[str]()
    cells = {column: [row[index] for row in rows] for index, column in enumerate(columns)}
    by_name = {column.name: column for column in columns}
    for name in droppable:
        if _is_terminal() and name in by_name and _table_width(cells, _TEXT_WIDTH) > width:
            dropped.append(name)
            del cells[by_name[name]]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for column in cells:
        table.add_column(
            Text(column.name),
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_text,
            overflow="fold",
        )
    for row in zip(*cells.values(), strict=True):
        table.add_row(*map(Text, row))
    print_sentences([title, ""])
    _console(_table_width(cells, _MIN_TEXT_WIDTH)).print(table)
    if names := [name for name in dropped if name]:
        print_sentences([f"(not shown at {width} columns: {', '.join(names)})"])
    print_lines([""])


def _table_width(cells: Mapping[Column, Sequence[str]], text_width: int) -> int:
    """The width of a table whose columns of text are wrapped to `text_width`."""
    widths = []
    for column, own in cells.items():
        width = max(cell_len(line) for cell in (column.name, *own) for line in cell.split("\n"))
        widths.append(min(width, text_width) if column.is_text else width)
    return sum(widths) + _GAP * (len(widths) - 1)


def print_sentences(lines: Iterable[str], indent: int = 0) -> None:
    """Print lines of prose, on a terminal wrapped between words.

    Args:
        lines: the lines.
        indent: spaces in front of each further line that a line is wrapped to.
    """
    if _is_terminal():
        wrapper = TextWrapper(
            _console().width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
        lines = [part for line in lines for part in wrapper.wrap(line) or [""]]
    print_lines(lines)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are, also where they are wider than the terminal: paths, and what a program reads."""
    out = _console()
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def short(value: float) -> str:
    """A count in k, M, B or T: 327.7M."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:g}"
