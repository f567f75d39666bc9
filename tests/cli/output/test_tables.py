"""Tables and sentences fit the terminal; nothing is cut, and names are not markup."""

import re
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import pytest

from deepen.cli.output.tables import numbers, print_sentences, print_table, text

COLUMNS = (text("arm"), numbers("loss"), numbers("95 % interval"), numbers("tokens"), numbers("peak memory"))
ROWS = (
    ("two-phase S=12", "4.1234", "-0.0412 to -0.0203", "123,456,789", "12.3 GB"),
    ("an arm whose name is as long as the names that people give", "4.1", "", "1", "412 MB"),
)


def show(droppable: tuple[str, ...] = ("another", "peak memory", "tokens")) -> None:
    print_table(
        "A title of the table that is long enough to be wrapped somewhere", COLUMNS, ROWS, droppable=droppable
    )


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_a_table_fits_the_terminal_and_cuts_nothing(columns: int, open_terminal: Callable[[int], Any]):
    terminal = open_terminal(columns)
    show()
    heading = next(i for i, line in enumerate(terminal.lines) if line.startswith("arm "))
    row = terminal.lines[heading + 2]
    assert row.startswith("two-phase S=12 ") and "  4.1234  -0.0412 to -0.0203" in row
    below = takewhile(lambda line: line and not line.startswith("("), terminal.lines[heading + 3 :])
    assert " ".join(re.split(r"  +", line)[0] for line in below) == ROWS[1][0]


def test_columns_that_do_not_fit_are_left_out_in_order_and_named(open_terminal: Callable[[int], Any]):
    terminal = open_terminal(140)
    show()
    assert "peak memory" in terminal.lines[2] and "not shown" not in terminal.getvalue()
    terminal = open_terminal(65)
    show()
    assert terminal.lines[2].split() == ["arm", "loss", "95", "%", "interval", "tokens"]
    assert "(not shown at 65 columns: peak memory)" in terminal.lines
    terminal = open_terminal(50)
    show()
    assert "(not shown at 50 columns: peak memory, tokens)" in terminal.lines
    assert "123,456,789" not in terminal.getvalue()


def test_a_table_without_columns_to_leave_out_is_still_whole(open_terminal: Callable[[int], Any]):
    terminal = open_terminal(30)
    show(droppable=())
    for cell in (*ROWS[0][0].split(), *ROWS[0][1:]):
        assert cell in terminal.getvalue()


def test_a_program_gets_every_column(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    show()
    assert "12.3 GB" in capsys.readouterr().out


NAMES = ("lr[ablation]", "[/x]", "[bold]x[/bold]", ":smile:", "http://x", "[link=y]", "\\[")


def test_names_in_brackets_are_printed_as_they_are(open_terminal: Callable[[int], Any]):
    terminal = open_terminal(80)
    print_table(NAMES[0], [text(name) for name in NAMES], [NAMES], droppable=NAMES[:1])
    print_sentences(NAMES)
    assert terminal.lines[0] == NAMES[0] and terminal.lines[-len(NAMES) :] == list(NAMES)
    assert terminal.lines[2].split() == terminal.lines[4].split() == list(NAMES)


def test_sentences_are_wrapped_between_words_and_paths_are_not_broken(open_terminal: Callable[[int], Any]):
    terminal = open_terminal(40)
    path = "/a/folder/whose/name/is/longer/than/the/terminal/is-wide"
    print_sentences([f"memory    peak 2.4 GB: weights 1.2 GB, gradients 1.2 GB; see {path}", ""], indent=10)
    assert terminal.getvalue().splitlines() == [
        "memory    peak 2.4 GB: weights 1.2 GB,",
        "          gradients 1.2 GB; see",
        f"          {path}",
        "",
    ]
