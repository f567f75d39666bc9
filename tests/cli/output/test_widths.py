"""What commands print fits terminals of every usual width, and all its numbers are whole."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len

from deepen.cli.entry import main

COMMANDS = (
    "plan two-phase --stages 4 --model gpt2-124m",
    "plan two-phase --stages 12 --model llama-7b --tokens-per-parameter 20 --device h100 --count 256 --shard "
    "--price-per-hour 2.5 --parts",
    "plan quickstart",
    "recipes",
    "doctor",
    "study",
)


@pytest.mark.parametrize("columns", [80, 100, 140])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_prints_fits_the_terminal(
    command: str, columns: int, open_terminal: Callable[[int], Any], capsys: pytest.CaptureFixture[str]
):
    terminal = open_terminal(columns)
    main(command.split())
    printed = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    wide = [line for line in printed.splitlines() if cell_len(line.rstrip()) > columns]
    assert all(line.strip().startswith("deepen ") for line in wide), "only a command to copy stays whole"
    assert "…" not in printed
    terminal = open_terminal(1000)
    main(command.split())
    numbers = set(re.findall(r"[\d][\d.,]*\d", re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())))
    assert set(re.findall(r"[\d][\d.,]*\d", printed)) <= numbers | {str(columns)}
