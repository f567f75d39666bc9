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


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, droppable: Sequence[str] = ()
) -> None:
    """Print a table; columns whose name begins with `<` are text, aligned left, the others numbers.

    Numbers are never cut. Where the terminal is too narrow, `droppable` columns go, the first first.
    """
    out, cells = console(), [list(row) for row in rows]
    kept = list(range(len(columns)))
    widths = [
        max(map(len, (name.removeprefix("<"), *(row[at] for row in cells)))) for at, name in enumerate(columns)
    ]
    for name in droppable:
        if sum(widths[at] + 3 for at in kept) > out.width and name in columns:
            kept.remove(columns.index(name))
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at in kept:
        text = columns[at].startswith("<")
        table.add_column(columns[at].removeprefix("<"), justify="left" if text else "right", no_wrap=not text)
    for row in cells:
        table.add_row(*(Text(row[at]) for at in kept))
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
