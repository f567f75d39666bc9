"""map.json: what is written is read again, and what is not a map is refused."""

from pathlib import Path

import pytest

from deepen.study.map.schema import MAP_FILE, MapResults, load_map, write_map
from deepen.study.results.results_file import ResultsError

CELL = {
    "model": {"name": "nano", "depth": 12, "width": 20, "parameters_non_embedding": 60_680},
    "arm": "one-shot",
    "recipe": "one-shot",
    "options": {"grow_at": 0.5},
    "tokens_per_parameter": 20.0,
    "seeds": [0, 1, 2],
    "multiplier": 1.2,
    "interval": [1.1, 1.4],
    "bounds": [None, "above"],
    "outcome": "wins",
    "study": "studies/nano",
}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    law = {
        "features": ["1"],
        "centres": [0.0],
        "coefficients": [0.2],
        "covariance": [[0.01]],
        "n": 4,
        "n_sizes": 4,
    }
    found = MapResults.from_json({"name": "map", "cells": [CELL], "law": {"recipes": {"one-shot": law}}})
    write_map(found, tmp_path)
    assert load_map(tmp_path) == load_map(tmp_path / MAP_FILE) == found
    assert found.law.recipes["one-shot"].covariance == ((0.01,),)


def test_a_newer_version_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_map(MapResults.from_json({"version": 2, "cells": [CELL]}), tmp_path)
    assert load_map(tmp_path).cells
    assert "has version 2" in caplog.text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"arms": []}'])
def test_what_is_not_a_map_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MAP_FILE).write_text(content)
    with pytest.raises(ResultsError, match=MAP_FILE):
        load_map(tmp_path)


def test_a_folder_without_a_map_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="run the map first"):
        load_map(tmp_path)


LAW = {"features": ["1"], "centres": [0.0], "coefficients": [0.2]}


@pytest.mark.parametrize(
    ("cell", "law"),
    [
        ({"multiplier": -1.0}, LAW),
        ({"multiplier": None}, LAW),
        ({"tokens_per_parameter": 0}, LAW),
        ({"model": "nano"}, LAW),
        ({"arm": "stack"}, LAW),
        ({}, {"features": ["1", "speed"], "centres": [0, 0], "coefficients": [1, 1]}),
        ({}, LAW | {"coefficients": [float("nan")]}),
        ({}, LAW | {"residual_std": 0.1, "degrees_of_freedom": 2, "covariance": [[1.0, 2.0]]}),
        ({}, LAW | {"residual_std": 0.1, "degrees_of_freedom": 0, "covariance": [[1.0]]}),
    ],
)
def test_a_law_that_cannot_be_evaluated_is_left_out(cell: dict, law: dict, tmp_path: Path) -> None:
    content = {"cells": [CELL | cell], "law": {"recipes": {"one-shot": law}}}
    write_map(MapResults.from_json(content), tmp_path)
    assert load_map(tmp_path).law.recipes == {}
