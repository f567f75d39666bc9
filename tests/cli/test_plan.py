import json
import subprocess
import sys

import pytest

from deepen.cli.main import main


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("stages", "total", "exact_share"), [(4, 14_688, 0.398), (8, 15_469, 0.455), (12, 15_729, 0.487)]
)
def test_the_papers_marks_and_the_exact_ones(
    stages: int, total: int, exact_share: float, capsys: pytest.CaptureFixture[str]
):
    told = plan(capsys, "two-phase", "--stages", str(stages), "--model", "gpt2-124m", "--vocab", "50304")
    assert told["baseline"]["steps"] == 10_000
    assert told["marks"]["paper"]["total_steps"] == total
    assert round(told["marks"]["flops"]["continual_share"], 3) == exact_share
    assert told["staged_share"]["flops"] + told["marks"]["flops"]["continual_share"] == pytest.approx(1, abs=1e-3)
    assert told["total"]["flops"] == pytest.approx(told["baseline"]["flops"], rel=1e-4)


def test_the_plan_has_its_keys_and_adds_up(capsys: pytest.CaptureFixture[str]):
    told = plan(capsys, "two-phase", "--stages", "4")
    assert told["model"] == {
        "name": "gpt2-124m",
        "depth": 12,
        "parameters": 124_439_808,
        "parameters_non_embedding": 85_056_000,
    }
    assert len(told["phases"]) == 9
    assert sum(phase["flops"] for phase in told["phases"]) == told["total"]["flops"]
    assert sum(phase["tokens"] for phase in told["phases"]) == told["total"]["tokens"]
    assert all(phase["flops"] == phase["tokens"] * phase["flops_per_token"] for phase in told["phases"])
    assert told["phases"][0]["trainable_parameters"] < told["phases"][-1]["trainable_parameters"] == 124_439_808


def test_a_study_is_planned_arm_by_arm(capsys: pytest.CaptureFixture[str]):
    told = plan(capsys, "paper")
    steps = {(m["arm"], m["accounting"], m["budget_share"]): m["steps"] for m in told["marks"]}
    assert steps["full", "flops", 1.0] == 10_000
    assert [steps[f"two-phase S={s}", "paper", 1.0] for s in (4, 8, 12)] == [14_688, 15_469, 15_729]


def test_a_scaled_paper_keeps_its_shape(capsys: pytest.CaptureFixture[str]):
    whole, small = plan(capsys, "paper"), plan(capsys, "paper", "--scale", "0.001")
    assert small["budget_flops"] / whole["budget_flops"] == pytest.approx(0.001, rel=0.01)
    for a, b in zip(whole["marks"], small["marks"], strict=True):
        assert b["flops"] / small["budget_flops"] == pytest.approx(a["flops"] / whole["budget_flops"], rel=0.01)


def test_options_may_stand_before_the_name(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "--json", "paper"]) == 0
    assert json.loads(capsys.readouterr().out)["study"] == "paper"


def test_the_human_plan_shows_the_marks(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "two-phase", "--stages", "8"]) == 0
    said = capsys.readouterr().out
    assert "15,469" in said and "stage 8 · phase 2" in said


def test_planning_does_not_wait_for_torch():
    code = (
        "import sys; from deepen.cli.main import main; main(['plan', 'two-phase', '--json']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
