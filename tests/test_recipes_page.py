"""docs/recipes.md: every recipe has a section with a figure, its commands are right, its tables are complete."""

import re
import shlex
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.cli.requests import train
from deepen.growth.operators import OPERATORS, UNTIE
from deepen.schedule.recipes import RECIPES

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "recipes.md").read_text()
COMMANDS = re.findall(r"^deepen .*$", PAGE, re.M)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_row_a_section_and_a_figure(name: str):
    assert f"| [`{name}`](#{name}) |" in PAGE
    section = PAGE.split(f"\n## `{name}`\n")[1].split("\n## ")[0]
    assert f"(images/recipes/{name}.png)" in section and (DOCS / "images/recipes" / f"{name}.png").exists()


@pytest.mark.parametrize("operator", [*OPERATORS.values(), UNTIE], ids=lambda operator: operator.name)
def test_every_operator_has_a_row_with_its_promise(operator):
    assert f"| `{operator.name}` | {operator.summary} | {operator.promise} |" in PAGE


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("deepen plan")])
def test_a_plan_on_the_page_can_be_made(line: str, capsys: pytest.CaptureFixture[str]):
    assert main([*shlex.split(line)[1:], "--model", "nano", "--tokens", "1M"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", [line for line in COMMANDS if "train" in line and "--from" not in line])
def test_a_training_on_the_page_is_a_right_request(line: str):
    assert train.parse(shlex.split(line)[2:]).study.arms
