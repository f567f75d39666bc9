"""What it takes to add a recipe and a growth operator: one file, and one entry in one file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deepen
from deepen.data.shards import Dataset

RECIPE = '''
"""Recipes that grow late."""

from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.schedule import Schedule
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import OperatorName


@recipe("late-growth")
def late_growth(
    model: ModelConfig, tokens: int, *, start_depth: int = 4, operator: OperatorName = "last"
) -> Schedule:
    """Train shallow for three quarters of the run, then grow.

    Args:
        tokens: total training tokens.
        start_depth: blocks before growth.
        operator: how new blocks get their weights.
    """
    before = round(tokens * 0.75)
    return Schedule(
        phases=(
            Phase(depth=start_depth, tokens=before, label="shallow"),
            Phase(depth=model.depth, tokens=tokens - before, label="deep"),
        ),
        growth=Growth(operator=operator),
    )
'''

OPERATOR = """
        Operator(
            name="last",
            summary="copies of the topmost block",
            placement="top",
            source=lambda new: new.old_depth - 1,
        ),
    )
}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's source with one more recipe and one more operator."""
    source = tmp_path_factory.mktemp("source")
    package = source / "deepen"
    shutil.copytree(Path(deepen.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "schedule" / "recipes" / "late_growth.py").write_text(RECIPE)
    operators = package / "growth" / "operators.py"
    text = operators.read_text()
    assert text.count("\n    )\n}\n") == 1, "where the operators' entries end"
    operators.write_text(text.replace("\n    )\n}\n", OPERATOR))
    return source


def run(source: Path, *arguments: str) -> str:
    """The output of a command run from that source."""
    done = subprocess.run(
        [sys.executable, "-m", "deepen", *arguments],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_file_is_a_recipe_and_an_entry_is_an_operator(source: Path, dataset: Dataset, tmp_path: Path):
    listing = json.loads(run(source, "recipes", "--json"))
    assert listing["recipes"]["late-growth"]["summary"].startswith("Train shallow for three quarters")
    assert listing["operators"]["last"] == "copies of the topmost block"

    plan = json.loads(run(source, "plan", "late-growth", "--model", "nano", "--start-depth", "3", "--json"))
    assert [phase["depth"] for phase in plan["phases"]] == [3, 12]

    sizes = ["--model", "nano", "--steps", "20", "--batch-tokens", "64", "--context", "16"]
    run(source, "train", "late-growth", *sizes, "--data", str(dataset.folder), "--out", str(tmp_path / "run"))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    [arm] = results["arms"]
    depths = [
        json.loads(line)["depth"]
        for key in arm["segments"]
        for line in (tmp_path / "run" / "segments" / key / "metrics.jsonl").read_text().splitlines()
    ]
    assert arm["recipe"] == "late-growth" and set(depths) == {4, 12}
