"""The public names: complete, imported lazily, with types for type checkers."""

import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import deepen
from deepen.compute.plan_recipe import plan_recipe

ROOT = Path(__file__).parent.parent
FIXED = [
    "run",
    "plan",
    "judge",
    "grow",
    "load_results",
    "recipes",
    "Study",
    "Arm",
    "Evaluation",
    "Schedule",
    "Ledger",
    "WSD",
    "TaskFile",
    "ModelConfig",
    "TrainSettings",
    "OptimizerSpec",
    "Results",
]


@pytest.mark.parametrize("name", [*deepen.__all__])
def test_every_public_name_exists_and_is_documented(name: str):
    value = getattr(deepen, name)
    assert value is getattr(deepen, name)
    if name != "PRESETS":
        assert (value.__doc__ or "").strip()
    assert name in dir(deepen)


def test_the_promised_names_are_public_and_in_the_overview():
    assert set(FIXED) <= set(deepen.__all__)
    words = set(re.findall(r"\w+", deepen.__doc__ or ""))
    assert set(deepen.__all__) <= words


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = deepen.nothing  # type: ignore[attr-defined]


def run_python(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    "use",
    [
        "",
        "deepen.Study, deepen.Arm, deepen.Evaluation, deepen.TrainSettings, deepen.WSD",
        "deepen.plan('full', model='nano', steps=100)",
        "deepen.load_results, deepen.Interrupted, deepen.recipes.full",
    ],
)
def test_importing_defining_planning_and_reading_load_no_torch(use: str, tmp_path: Path):
    done = run_python(f"import deepen, sys; {use or 'None'}; assert 'torch' not in sys.modules", tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_study_is_planned_with_marks_for_each_arm(make_study: Any):
    study = make_study()
    planned = deepen.plan(study)
    assert {mark.arm for mark in planned.marks} == {arm.name for arm in study.arms}
    with pytest.raises(TypeError, match="leave out steps"):
        deepen.plan(study, steps=3)  # type: ignore[call-overload]


TYPES = {
    "deepen.run": "executor: deepen.study.define.executor.ExecutorChoice | str",
    "deepen.load_results('x')": "deepen.study.results.schema.Results",
    "deepen.plan('full').peak.flops": "int",
    "deepen.Evaluation": "every_tokens: int",
    "deepen.recipes.one_shot": "deepen.schedule.schedule.Schedule",
    "deepen.judge": "deepen.study.results.verdict_schema.Verdict",
}


@pytest.mark.slow
def test_a_type_checker_sees_the_types_of_the_installed_package(tmp_path: Path):
    """In a separate project, where types are visible only because of the marker `py.typed`."""
    source = Path(deepen.__file__).parents[1]
    assert (source / "deepen" / "py.typed").is_file()
    lines = ["import deepen", *(f"reveal_type({expression})" for expression in TYPES)]
    (tmp_path / "use.py").write_text("\n".join(lines) + "\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "use.py"],
        cwd=tmp_path,
        env={} if source.name == "site-packages" else {"MYPYPATH": str(source)},
        capture_output=True,
        text=True,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', checked.stdout)
    assert len(revealed) == len(TYPES), checked.stdout + checked.stderr
    for (expression, expected), found in zip(TYPES.items(), revealed, strict=True):
        assert expected.replace(" ", "") in found.replace("builtins.", "").replace(" ", ""), (expression, found)


@pytest.mark.slow
def test_the_example_of_a_custom_curve_runs(tmp_path: Path):
    file = ROOT / "docs" / "examples" / "own_curve.py"
    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "own-curve.png").stat().st_size > 10_000
    results = deepen.load_results(tmp_path / "own-curve")
    assert {arm.name for arm in results.arms} == {"full", "one-shot"} and len(results.verdicts) == 1
    assert (tmp_path / "own-curve" / "report" / "index.html").is_file()


def test_plan_has_the_types_of_the_function_behind_it():
    typed = inspect.signature(typing.get_overloads(deepen.plan)[1]).parameters
    behind = inspect.signature(plan_recipe).parameters
    assert [(p.name, p.annotation) for p in typed.values()][1:] == [
        (p.name, p.annotation) for p in behind.values()
    ][1:]
