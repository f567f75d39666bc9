"""Tables on a terminal, and the short forms of large numbers."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """Standard output; wide enough for a table where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


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
    """Print a table.

    Args:
        droppable: names of columns to leave out where the terminal is too narrow, the first first.
    """
    out, cells = console(), [list(row) for row in rows]
    kept = list(range(len(columns)))
    names = [column.name for column in columns]
    widths = [max(map(len, (name, *(row[index] for row in cells)))) for index, name in enumerate(names)]
    for name in droppable:
        if sum(widths[index] + 3 for index in kept) > out.width and name in names:
            kept.remove(names.index(name))
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index in kept:
        is_text = columns[index].is_text
        table.add_column(names[index], justify="left" if is_text else "right", no_wrap=not is_text)
    for row in cells:
        table.add_row(*(Text(row[index]) for index in kept))
    out.print(table)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines as they are, unwrapped where they are read by a program."""
    out = console()
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def short(value: float) -> str:
    """A count in k, M, B or T: 327.7M."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:g}"
