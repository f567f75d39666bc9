"""The results of a study on a terminal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.output.results_table import print_arm, print_results
from deepen.study.results.schema import Results

NAMES = ("two-phase S=12", "lr[ablation]", "[/x]")


def verdict(name: str, accounting: str, difference: float) -> dict[str, Any]:
    return {
        "arm": name, "accounting": accounting, "n_seeds": 2, "loss": 4.1234 + difference, "difference": difference,
        "interval": [difference - 0.1234, difference + 0.1234], "outcome": "wins", "compute_multiplier": 1.401,
        "multiplier_bound": "above", "tokens": 123_456_789, "seconds": 12_345, "peak_memory_bytes": 12_300_000_000,
        "sentence": f"{name} wins a sentence of its own",
    }  # fmt: skip


def arm(name: str, share: float) -> dict[str, Any]:
    point = {"tokens": 2000, "step": 2, "flops": 1000, "seconds": 1.0, "val_loss": 5.4321, "train_loss": 5.5}
    marks = [point | {"accounting": "flops", "budget_share": 1.0, "annealed": True}] if share == 1 else []
    return {"name": name, "recipe": "x", "seed": 0, "curve": [point], "marks": marks, "trained_share": share}


def results(*verdicts: dict[str, Any], arms: tuple[dict[str, Any], ...], share: float = 1) -> Results:
    regime = {"depth": 12, "parameters": 1e5, "tokens_per_parameter": 5.0, "wall_seconds": 83.0}
    content = {"study": "[s]", "baseline": "full", "arms": arms, "verdicts": verdicts, "regime": regime}
    return Results.from_json(content | {"trained_share": share})


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_the_finding_comes_first_then_the_table_whole_at_every_width(
    columns: int, open_terminal: Callable[[int], Any]
):
    terminal = open_terminal(columns)
    verdicts = [verdict(name, mark, -0.25) for name in NAMES for mark in ("flops", "paper")]
    print_results(results(*verdicts, arms=tuple(arm(name, 1) for name in ("full", *NAMES))), Path("out"))
    lines, shown = terminal.lines, " ".join(" ".join(terminal.lines).split())
    assert shown.startswith(
        "At equal compute, with only 5.0 tokens per parameter, all three arms beat full training."
    )
    assert "- Seen at one size, a model of 100 k parameters; one this small says little" in shown
    assert shown.index("well under 20") < shown.index("[s]: validation loss at equal exact FLOPs")
    for name in NAMES:
        rows = [line for line in lines if line.startswith(f"{name} ")]
        assert len(rows) == 2, "at equal exact FLOPs, and at the paper's mark"
        assert all("3.873  " in row and "-0.250  -0.373 to -0.127  " in row and "≥ 1.40×" in row for row in rows)
        assert [row.endswith("wins") for row in rows] == [True, False], "no outcome at the paper's mark"
        assert ("12.3 GB" in rows[0] and "123 M" in rows[0]) == (columns == 140)
    assert "a sentence of its own" not in shown and "Wall time: 83 s." in lines
    assert lines[-1] == "Report: out/report/index.html"


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_unfinished_runs_are_shown_as_far_as_they_are_without_a_verdict(
    columns: int, open_terminal: Callable[[int], Any]
):
    terminal = open_terminal(columns)
    arms = (arm("full", 0.5), *(arm(name, 0.256) for name in NAMES))
    print_results(results(arms=arms, share=0.31), Path("out"))
    lines = terminal.lines
    assert "This study is unfinished: 31 % of its compute is trained." in lines
    for name in NAMES:
        [row] = [line.split() for line in lines if line.startswith(f"{name} ")]
        assert row[-2:] == ["5.432", "5.500"] and "25" in row
    assert not any("wins" in line for line in lines)


def test_an_arm_alone_is_shown_with_its_state_and_page(capsys: pytest.CaptureFixture[str]):
    finished = results(arms=(arm("[/x]", 1) | {"segments": ["abc"]},))
    print_arm(finished, Path("out"))
    printed = capsys.readouterr().out
    assert printed.startswith("[/x]: 2 steps, 2,000 tokens, 1000 FLOPs") and "validation loss 5.4321" in printed
    assert "State: out/segments/abc/state" in printed and "Report: out/report/index.html" in printed
    assert "--against" not in printed
    print_arm(results(arms=(arm("[/x]", 0.5),), share=0.5), Path("out"))
    printed = capsys.readouterr().out
    assert "50 %" in printed and "State:" not in printed


def test_an_arm_alone_that_grows_is_explained_by_its_budget_and_could_be_compared(
    capsys: pytest.CaptureFixture[str],
):
    regime = {"baseline_tokens": 1000, "batch_tokens": 1000}
    content = {"study": "train x", "baseline": "x", "arms": [arm("x", 1)], "regime": regime, "trained_share": 1}
    print_arm(Results.from_json(content), Path("out"))
    printed = capsys.readouterr().out
    assert "x: 2 steps" in printed and "the budget is the FLOPs of 1 step of full training" in printed
    assert "add --against full" in printed
    content["arms"] = [arm("x", 1) | {"recipe": "full", "curve": []}]
    content["regime"] = {"baseline_tokens": 2000, "batch_tokens": 1000}
    print_arm(Results.from_json(content), Path("out"))
    printed = capsys.readouterr().out
    assert "x: 2 steps" in printed and "budget" not in printed and "--against" not in printed


def test_seeds_of_an_arm_alone_have_their_mean_and_no_table_of_verdicts(capsys: pytest.CaptureFixture[str]):
    regime = {"baseline_tokens": 1000, "batch_tokens": 1000}
    arms = [arm("x", 1) | {"seed": seed} for seed in (0, 1)]
    print_results(
        Results.from_json({"study": "train x", "baseline": "x", "arms": arms, "regime": regime}), Path("out")
    )
    printed = capsys.readouterr().out
    assert printed.startswith("x ends at a validation loss of 5.432 nats per token, the mean of two seeds.")
    assert "The budget is the FLOPs of 1 step of full training." in printed and "add --against full" in printed
    assert "multiplier" not in printed and "equal exact FLOPs" not in printed
