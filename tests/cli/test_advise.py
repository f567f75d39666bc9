"""`deepen advise` as its user sees it."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.entry import main
from deepen.cli.requests import study, train
from deepen.cli.requests.run_request import RunRequest
from deepen.study.map.schema import write_map
from maps import make_map

WORDS = ["advise", "--depth", "24", "--width", "1024", "--tokens", "20e9"]
PRICED = ["--device", "h100", "--count", "8", "--price-per-hour", "2.5"]


def test_without_a_map_of_ones_own_the_one_that_ships_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """It was measured on models much smaller than this one, so it advises a test."""
    assert main(WORDS) == 0
    printed = capsys.readouterr().out
    assert "Map: the one that ships with deepen" in printed
    assert "* an extrapolation" in printed and "advice    test first" in printed
    assert "deepen " in printed.splitlines()[-1] and "--depth 24" in printed.splitlines()[-1]


def test_an_extrapolation_is_marked_in_the_table_and_in_the_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_map(make_map(), tmp_path)
    assert main([*WORDS, "--map", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "advice    test first: one-shot" in printed
    assert "1.20 *" in printed and "* an extrapolation" in printed
    assert "- parameters without embeddings" in printed


def test_hours_and_money_saved_follow_from_the_multiplier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_map(make_map(), tmp_path)
    assert main([*WORDS, *PRICED, "--map", str(tmp_path / "map.json"), "--json"]) == 0
    advice = json.loads(capsys.readouterr().out)
    best, full = advice["arms"][0], advice["full_training"]
    share = 1 - 1 / best["multiplier"]
    assert best["saved"]["hours"] == pytest.approx(share * full["hours"])
    assert best["saved"]["cost"] == pytest.approx(share * full["hours"] * 8 * 2.5)
    assert advice["model"]["width"] == 1024 and advice["conclusion"] == "test first"


def test_a_file_that_is_no_map_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "map.json").write_text("{}")
    assert main([*WORDS, "--map", str(tmp_path)]) != 0
    assert "so it is not the results of a map" in capsys.readouterr().err


def propose_test(folder: Path, capsys: pytest.CaptureFixture[str], **cells: Any) -> list[str]:
    """The command that tests the recipe of a map with these cells, for a model of another parametrization."""
    write_map(make_map(**cells), folder)
    assert main([*WORDS, "--parametrization", "depth-mup", "--map", str(folder), "--json"]) == 0
    deepen, *words = shlex.split(json.loads(capsys.readouterr().out)["test"]["command"])
    assert deepen == "deepen"
    return words


def test_the_proposed_fair_study_has_the_models_blocks_and_parametrization(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    action, *words = propose_test(tmp_path, capsys, options={})
    request = study.parse(words)
    assert (action, words[0]) == ("study", "fair") and isinstance(request, RunRequest)
    assert (request.study.model.depth, request.study.model.parametrization) == (24, "depth-mup")


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("two-phase", {"stages": 3, "round_down": True, "reset_at_continual": False, "placement": ""}),
        ("gradual", {"depths": [6, 12, 24], "grow_at": [0.3, 0.6]}),
    ],
)
def test_the_proposed_test_has_the_options_of_the_recipe(
    recipe: str, options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    action, *words = propose_test(tmp_path, capsys, recipe=recipe, options=options)
    trained = train.parse(words).study
    assert action == "train" and trained.model.parametrization == "depth-mup"
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if value}
    assert dict(trained.arms[-1].options) == given
