"""docs/studies.md: its example runs, and its reference has every field with its default."""

import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import deepen
from deepen.cli.entry import main

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "studies.md").read_text()
EXAMPLE = ROOT / "docs" / "examples" / "my_study.py"

DESCRIBED: dict[str, Any] = {
    "Study": deepen.Study,
    "Arm": deepen.Arm,
    "Tuning": deepen.Tuning,
    "Evaluation": deepen.Evaluation,
    "TaskFile": deepen.TaskFile,
    "TrainSettings": deepen.TrainSettings,
    "OptimizerSpec.adamw": deepen.OptimizerSpec.adamw,
    "OptimizerSpec.muon": deepen.OptimizerSpec.muon,
    "WSD": deepen.WSD,
    "Cosine": deepen.Cosine,
    "Constant": deepen.Constant,
    "ModelConfig": deepen.ModelConfig,
    "Schedule": deepen.Schedule,
    "Phase": deepen.Phase,
    "Growth": deepen.Growth,
}
NAMES = {name: getattr(deepen, name) for name in deepen.__all__}


@pytest.mark.parametrize("name", DESCRIBED)
def test_every_field_is_on_the_page_with_its_default(name: str):
    section = PAGE.split(f"\n### `{name}`\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", section, re.M)
    described = {field: default for field, default, _ in rows}
    assert described.keys() == {field.name for field in fields(DESCRIBED[name])}
    for field in fields(DESCRIBED[name]):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if default is MISSING:
            assert described[field.name] == "required", field.name
        else:
            assert eval(described[field.name].strip("`"), dict(NAMES)) == default, field.name


def test_the_page_shows_the_example_as_it_is():
    assert f"```python\n{EXAMPLE.read_text()}```" in PAGE


@pytest.mark.slow
def test_the_example_is_planned_trained_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """By the commands that the page gives, and as a script."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study.py").write_bytes(EXAMPLE.read_bytes())
    assert main(["train", "my_study.py:half_first", "--steps", "10", "--share", "0.7", "--out", "one"]) == 0
    printed = subprocess.run(
        [sys.executable, "my_study.py"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.splitlines()
    capsys.readouterr()
    assert main(["study", "my_study.py", "--out", "half-first", "--json"]) == 0  # trains nothing more
    verdicts = {verdict["arm"]: verdict for verdict in json.loads(capsys.readouterr().out)}
    assert verdicts.keys() == {"half first", "half first, 70 %", "small"}
    results = deepen.load_results("half-first")
    *sentences, report = printed
    assert sentences == [verdict.sentence for verdict in results.verdicts] and len(sentences) == 3
    assert report.startswith("Report: ") and Path(report.removeprefix("Report: ")).is_file()
    assert {arm.recipe for arm in results.arms} == {"full", "half_first", "small"}
    assert all(verdict["interval"] for verdict in verdicts.values())
    assert (tmp_path / "half-first" / "report" / "index.html").is_file()
