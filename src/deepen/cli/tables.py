"""Tables on a terminal, and the short forms of large numbers."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


def console() -> Console:
    """Standard output; wide enough for a table where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; columns whose name begins with `<` are text, aligned left, the others numbers."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix("<"), justify="left" if column.startswith("<") else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


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
