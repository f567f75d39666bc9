"""Help: grouped, with what options take, defaults and examples that can be run."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.cli.requests.argument_parser import build_parser, explain_option
from deepen.cli.requests.catalog import COMMANDS, OVERVIEW, load_tables
from deepen.cli.requests.command import Command
from deepen.study.define.presets import STUDIES

TABLES = tuple(
    itertools.chain.from_iterable(
        (table, *table.actions) for table in load_tables().actions if table.name in COMMANDS
    )
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_help_shows_every_option_with_what_it_takes(table: Command, capsys: pytest.CaptureFixture[str]):
    assert main([*table.name.split(), "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and printed.out.startswith(f"usage: deepen {table.name}")
    shown = build_parser(table).format_help().splitlines()
    for option in table.options:
        metavar = "" if option.takes is None else f" {option.takes.metavar}"
        metavar = metavar if option.bare is None else f" [{option.takes.metavar}]"  # may be left out
        (line,) = [line for line in shown if line.split(" ")[2:3] == [option.flag]]
        assert not option.short or f", {option.short}{metavar}" in line
        assert line.strip().startswith(f"{option.flag}{metavar}")
        assert metavar != " VALUE" and not option.help.endswith(".")
    if table.argument is not None:
        assert any(line.startswith(f"  {table.argument.metavar} ") for line in shown)
    assert len(table.examples) >= (1 if " " in table.name else 2) and "Examples:" in shown


UNITS = ("TOKENS", "STEPS", "FLOPS", "HOURS", "PRICE", "SHARE", "RATE", "PASSES", "SEED", "TEMPERATURE", "BASE")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_help_states_every_default_and_the_unit_of_every_number(table: Command):
    for option in table.options:
        if option.takes is None:
            continue  # a switch is off by default
        entry = explain_option(option)
        assert "(default: " in entry, option.flag
        if option.takes.number is not None:
            has_unit = option.takes.metavar in UNITS or re.search(r"number of|share of", entry)
            assert has_unit, f"{option.flag}: {entry}"


@pytest.mark.parametrize("width", ["60", "200"])
def test_help_is_as_wide_as_the_terminal_up_to_a_limit(width: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", width)
    for table in (OVERVIEW, *TABLES):
        text = build_parser(table).format_help().split("Examples:")[0]
        assert max(map(len, text.splitlines())) <= min(int(width), 110)


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert f"    {name}" in printed and summary.split(":")[0][:40] in printed
    assert "--version" in printed and "Examples:" in printed
    assert main([]) == 2
    assert capsys.readouterr().out == printed


def test_help_and_version_are_commands_too(capsys: pytest.CaptureFixture[str]):
    def printed(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    assert printed("help") == printed("--help") and printed("version") == printed("--version")
    for table in TABLES:
        assert printed("help", *table.name.split()) == printed(*table.name.split(), "--help")
    assert "  help " in printed("help") and "  version " in printed("help")
    assert main(["help", "trian"]) == 2
    assert "command 'trian' is unknown (did you mean 'train'?)" in capsys.readouterr().err


def test_help_is_found_wherever_it_is_asked_for(capsys: pytest.CaptureFixture[str]):
    for words in (["train", "full", "--steps", "x", "-h"], ["plan", "--help", "paper"], ["store", "-h"]):
        assert main(words) == 0
        assert capsys.readouterr().out.startswith(f"usage: deepen {words[0]}")


def test_help_of_a_plan_depends_on_what_is_planned(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "paper", "--help"]) == 0
    assert "--seeds N" in (of_study := capsys.readouterr().out) and "--stages" not in of_study
    assert main(["plan", "--help"]) == 0
    assert "--stages N" in (of_recipe := capsys.readouterr().out) and "--seeds" not in of_recipe


EXAMPLES = [example.line for table in TABLES for example in table.examples if example.line.startswith("deepen ")]


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line.startswith(("deepen plan", "deepen recipes"))])
def test_examples_that_train_nothing_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    if "--bench" not in line:  # that needs a measurement first
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err


TRAINS = ("deepen study", "deepen train")


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line.startswith(TRAINS) and "--from" not in line])
def test_examples_that_train_are_right_requests(line: str):
    from deepen.cli.requests import study, train

    command, *rest = shlex.split(line)[1:]
    assert {"study": study, "train": train}[command].parse(rest).study.arms


@pytest.mark.slow
def test_help_and_versions_and_wrong_requests_do_not_wait_for_large_packages():
    large = {"torch", "numpy", "tokenizers", "scipy"}
    for words in (["--help"], ["--version"], ["train", "--help"], ["study", "--help"], ["study", "quickstar"]):
        code = f"import sys; from deepen.cli.entry import main; main({words})"
        code += f"; assert not {large} & sys.modules.keys()"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0, words


def test_study_without_a_name_lists_the_studies_without_torch(capsys: pytest.CaptureFixture[str]):
    assert main(["study"]) == 2  # nothing was asked for
    printed = capsys.readouterr()
    for name, make in STUDIES.items():
        assert name in printed.out and all(arm.name in printed.out for arm in make().arms)
    assert "deepen study mine.py" in printed.out and not printed.err
    code = "import sys; from deepen.cli.entry import main; main(['study']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
