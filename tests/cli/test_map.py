"""`deepen study map`: planned, run, continued and drawn again, as its user would."""

import json
import signal
from pathlib import Path

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from deepen.cli.entry import main
from deepen.study.map.law import predict
from deepen.study.map.schema import load_map

TINY = (
    "--models 2x8,2x16 --recipes one-shot --budgets 8,16 --seeds 1 --vocab 512 --context 16 --batch-tokens 512 "
    "--tune-rate 1.6e-2 --depths 2"
)


def test_the_plan_prices_all_models_and_what_their_runs_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "map", *TINY.split(), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [study["model"] for study in plan["studies"]] == ["2x8", "2x16"]
    for study in plan["studies"]:
        assert study["tokens"] == pytest.approx(
            [8 * study["parameters_non_embedding"], 16 * study["parameters_non_embedding"]], rel=0.1
        )
    assert plan["flops"] == sum(study["flops"] for study in plan["studies"])


@pytest.mark.parametrize("options", ["", "--seeds 3"])
def test_a_map_trains_at_most_six_tenths_of_the_tokens_of_separate_runs(
    capsys: pytest.CaptureFixture[str], options: str
) -> None:
    assert main(["plan", "map", "--models", "4x64", *options.split(), "--json"]) == 0
    sharing = json.loads(capsys.readouterr().out)["sharing"]
    assert sharing["tokens_trained"] <= 0.6 * sharing["tokens_if_separate"]


def test_a_map_refuses_the_folder_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.json").write_text("{}")
    assert main(["study", "map", *TINY.split(), "--out", str(tmp_path)]) == 2
    assert "holds a study, not a map" in capsys.readouterr().err


@pytest.mark.slow
def test_a_map_is_run_extended_and_drawn_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "map"
    first = [*TINY.replace("2x8,2x16", "2x8").split(), "--out", str(folder), "--jobs", "1"]
    assert main(["study", "map", *first]) == 0
    assert {cell.model.name for cell in load_map(folder).cells} == {"2x8"}
    capsys.readouterr()
    assert main(["study", "map", *first, "--models", "2x16", "--json"]) == 0
    found = load_map(folder)
    assert json.loads(capsys.readouterr().out)["name"] == "map"
    assert [(cell.model.name, round(cell.tokens_per_parameter)) for cell in found.cells] == [
        ("2x8", 8),
        ("2x8", 16),
        ("2x16", 8),
        ("2x16", 16),
    ]
    assert found.sharing.tokens_trained and found.sharing.tokens_trained < (found.sharing.tokens_if_separate or 0)
    assert all((folder / study.folder / "report" / "index.html").exists() for study in found.studies)
    (folder / "map.json").write_text("{}")
    assert main(["report", str(folder)]) == 0
    assert load_map(folder) == found
    assert (folder / "report" / "figures" / "map-dark.svg").exists() and (folder / "map.csv").exists()
    assert "one-shot" in found.law.recipes or all(cell.multiplier is None for cell in found.cells)
    for arm in found.law.recipes:
        assert predict(found, arm, found.models[0], found.cells[0].tokens).multiplier > 0


@pytest.mark.slow
def test_an_interrupted_map_beside_damaged_results_is_reported_as_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "studies" / "2x16" / "results.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    hook = register_optimizer_step_post_hook(lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        assert main(["study", "map", *TINY.split(), "--out", str(tmp_path), "--jobs", "1"]) == 130
    finally:
        hook.remove()
    printed = capsys.readouterr().err
    assert f"{damaged} is damaged" in printed and "stopped; every step so far is kept" in printed
    assert "error:" not in printed
