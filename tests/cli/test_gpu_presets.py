"""`--preset gpu-20min` and `gpu-2h` on a command line: priced on each card, changed by options, and run tiny."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.cli.requests.study import parse
from deepen.compute.devices import DEVICES, assumed_mfu
from deepen.study.define.fair import fair
from deepen.study.define.fair_presets import FAIR_PRESETS, gpu_model
from deepen.study.results.results_file import load_results

TINY = (
    "--preset gpu-20min --depth 2 --width 8 --heads 2 --vocab 512 --context 16 --batch-tokens 512 --budgets 8,16 "
    "--points 4 --precision fp32 --compile no"
)


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("study", ["fair", "map"])
@pytest.mark.parametrize("preset", FAIR_PRESETS)
def test_a_preset_is_priced_on_each_card(study: str, preset: str, capsys: pytest.CaptureFixture[str]):
    planned = plan(capsys, study, "--preset", preset)
    assert [card["name"] for card in planned["cards"]] == [*DEVICES] and planned["time"] is None
    for card in planned["cards"]:
        parts = (card[f"{part}_seconds"] for part in ("training", "evaluation", "beginnings"))
        assert sum(parts) == pytest.approx(card["seconds"]) and card["segments"] > 100
    assert main(["plan", study, "--preset", preset]) == 0
    shown = capsys.readouterr().out
    assert "H100 SXM 80 GB" in shown and "nothing of it has been measured on a GPU" in shown
    assert f"{preset} is made for" in shown and "Evaluating curves and marks takes" in shown
    assert max(map(len, shown.split("Time on one card")[1].splitlines()[:9])) <= 110


def test_a_named_device_takes_the_place_of_all_and_a_given_utilization_that_of_the_assumed(
    capsys: pytest.CaptureFixture[str],
):
    assumed = plan(capsys, "fair", "--preset", "gpu-20min", "--device", "h100")
    given = plan(capsys, "fair", "--preset", "gpu-20min", "--device", "h100", "--mfu", "0.2")
    assert assumed["cards"] == given["cards"] == []
    assert assumed["time"]["mfu"] == pytest.approx(assumed_mfu(256)) and given["time"]["mfu"] == pytest.approx(0.2)
    assert assumed["time"]["hours"] / given["time"]["hours"] == pytest.approx(0.2 / assumed_mfu(256))
    share = given["time"]["evaluation"]["hours"] / given["time"]["hours"]
    assert share == pytest.approx(given["evaluation"]["flops_share"])


def test_options_change_a_preset(capsys: pytest.CaptureFixture[str]):
    whole = plan(capsys, "map", "--preset", "gpu-20min")["studies"]
    changed = plan(
        capsys, "map", "--preset", "gpu-20min", "--models", "4x256,6x320", "--seeds", "5", "--budgets", "5"
    )
    assert [study["model"] for study in changed["studies"]] == ["4x256", "6x320"]
    assert changed["studies"][0]["tokens"] == whole[1]["tokens"][:1]
    assert changed["studies"][0]["runs"] == 5 * (3 + 2)  # the baseline at three budgets, two arms at one


def test_each_preset_has_a_folder_of_its_own():
    folders = {
        parse([study, *options.split(), "--data", "sotu"]).folder.name
        for study in ("fair", "map")
        for options in ("", "--preset gpu-20min", "--preset gpu-2h")
    }
    assert len(folders) == 6 and {"fair", "fair-gpu-20min", "map-gpu-2h"} <= folders


@pytest.mark.slow
def test_a_preset_scaled_down_by_options_runs_to_its_end_and_is_evaluated_as_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    planned = plan(capsys, "fair", *TINY.split())
    folder = tmp_path / "fair"
    assert main(["study", "fair", *TINY.split(), "--data", "sotu", "--out", str(folder), "--jobs", "1"]) == 0
    results = load_results(folder)
    assert {run.name for run in results.arms} >= {"full", "one-shot", "small 1"}
    assert {run.seed for run in results.arms} == {0, 1, 2} and results.trained_share == 1
    assert all(
        len({each.budget_flops for each in results.verdicts if each.arm == arm}) >= 2
        for arm in ("one-shot", "small 1")
    )
    assert all(len(each.trials) == 3 for each in results.tuning.arms)
    study = fair(preset="gpu-20min", model=replace(gpu_model(2, 8), vocab=512, context=16))
    spent = 0
    for log in folder.glob("segments/*/evals.jsonl"):
        layers = json.loads((log.parent / "spec.json").read_text())["recipe"]["depth"]
        tokens: dict[int, int] = {}
        for line in map(json.loads, log.read_text().splitlines()):
            tokens[line["tokens"]] = max(line["n"], tokens.get(line["tokens"], 0))
        spent += sum(tokens.values()) * study.ledger.evaluation_per_token(layers, study.context)
    assert 0.6 * planned["evaluation"]["flops"] < spent < planned["evaluation"]["flops"]  # which is at most
