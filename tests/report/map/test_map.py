"""The page, the figure and the table of a map."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from deepen.report.map.draw import draw_map
from deepen.report.map.grid import make_grids
from deepen.report.map.words import describe_laws, describe_map, describe_scope, describe_withheld
from deepen.report.publish.map_tables import cell_table
from deepen.study.map.law import fit_laws
from deepen.study.map.schema import MapResults


def _cell(model: str, budget: float, multiplier: float | None, **changes: Any) -> dict[str, Any]:
    size = {"small": 1000, "large": 9000}[model]
    outcome = "cannot tell" if multiplier is None else "wins" if multiplier > 1.1 else "loses"
    return {
        "model": {"name": model, "depth": 4, "width": 8, "parameters_non_embedding": size},
        "arm": "one-shot",
        "recipe": "one-shot",
        "tokens_per_parameter": budget,
        "seeds": [0, 1, 2],
        "multiplier": multiplier,
        "interval": None if multiplier is None else [multiplier - 0.1, multiplier + 0.1],
        "difference": -0.01,
        "outcome": outcome,
        "study": f"studies/{model}",
    } | changes  # fmt: skip


def _map(*cells: dict[str, Any], name: str = "map") -> MapResults:
    found = MapResults.from_json({"name": name, "cells": cells})
    return MapResults.from_json({"name": name, "cells": found.cells, "law": fit_laws(found.cells)})


@pytest.fixture
def found() -> MapResults:
    """Growing pays at the small budget, and at the large one only for the small model."""
    return _map(
        _cell("large", 5.02, 1.3, beats_best_fixed_depth=True, best_fixed_depth="full"),
        _cell("large", 20, 0.9, beats_best_fixed_depth=False, best_fixed_depth="full"),
        _cell("small", 4.98, 1.2, beats_best_fixed_depth=False, best_fixed_depth="full"),
        _cell("small", 19.8, 1.15, interval=[1.1, 1.4], bounds=[None, "above"]),
    )


def test_small_models_come_first_and_budgets_that_differ_by_rounding_share_a_column(found: MapResults) -> None:
    (grid,) = make_grids(found)
    assert [model.name for model, _ in grid.rows] == ["small", "large"]
    assert grid.budgets == ("5", "20")
    assert [square.multiplier for _, squares in grid.rows for square in squares] == [
        "1.20×",
        "1.15×",
        "1.30×",
        "0.90×",
    ]
    assert grid.rows[0][1][1].interval == "1.10 to above 1.40"


@pytest.mark.parametrize(
    ("budgets", "labels"),
    [
        ((125, 250), ("125", "250")),
        ((12.5, 33.4), ("12.5", "33.4")),
        ((105.1, 110.4), ("105", "110")),
        ((100.2, 103.9), ("100", "104")),
        ((100.2, 100.3), ("100.2", "100.3")),
        ((79.97, 1_000_000), ("80", "1000000")),
    ],
)
def test_each_budget_of_a_model_has_a_column_and_a_label_of_its_own(
    budgets: tuple[float, float], labels: tuple[str, str]
) -> None:
    found = _map(_cell("small", budgets[0], 1.2), _cell("small", budgets[1], 1.4), _cell("large", budgets[1], 1.3))
    (grid,) = make_grids(found)
    assert grid.budgets == labels
    rows = [[square.multiplier for square in squares] for _, squares in grid.rows]
    assert rows == [["1.20×", "1.40×"], ["–", "1.30×"]]
    assert f"{labels[0]} and {labels[1]} tokens per parameter" in describe_scope(found)
    assert f"| {labels[1]} tokens per parameter |" in str(cell_table(found))


def test_the_line_of_breaking_even_runs_between_a_gain_and_a_loss(found: MapResults) -> None:
    (grid,) = make_grids(found)
    (_, small), (_, large) = grid.rows
    assert [square.break_even_right for square in (*small, *large)] == [False, False, True, False]
    assert [square.break_even_below for square in (*small, *large)] == [False, True, False, False]


def test_a_mark_says_whether_constant_depths_are_beaten() -> None:
    found = _map(
        _cell("small", 5, 1.2, beats_best_fixed_depth=False, best_fixed_depth="full"),
        _cell(
            "small", 10, 1.2, beats_best_fixed_depth=False, best_fixed_depth="depth 2", depths_better=["depth 2"]
        ),
        _cell("small", 20, 1.2, beats_best_fixed_depth=True, best_fixed_depth="full"),
        _cell("small", 40, 1.2, beats_best_fixed_depth=True, best_fixed_depth="full", depths_at_edge=["depth 2"]),
    )
    ((_, squares),) = make_grids(found)[0].rows
    assert [square.mark for square in squares] == ["", "✗", "✓", "(✓)"]
    assert describe_map(found).endswith(
        " In 1 of the 2, shown as (✓), the rate of a beaten depth is at the edge of those tried. In 1 of 4, "
        "shown as ✗, it loses to a constant depth."
    )
    assert re.findall(r"\(1.10 to 1.30\) ?(\S*) \|", str(cell_table(found))) == ["", "✗", "✓", "(✓)"]


def test_a_cell_that_cannot_tell_is_hatched_and_shows_its_difference() -> None:
    (grid,) = make_grids(_map(_cell("small", 5, None), _cell("small", 20, 1.2)))
    unsure, sure = grid.rows[0][1]
    assert unsure.is_hatched and not sure.is_hatched
    assert (unsure.multiplier, unsure.interval, unsure.strength) == ("–", "−0.010 nats", 0.0)


def test_reasons_for_missing_multipliers_are_counted() -> None:
    reason = {"withheld": "the rate is at the edge"}
    found = _map(_cell("small", 5, None, **reason), _cell("small", 20, None, **reason), _cell("large", 5, 1.2))
    assert describe_withheld(found) == ["No multiplier in 2 of 3 cells: the rate is at the edge."]


def test_the_headline_counts_both_baselines(found: MapResults) -> None:
    assert describe_map(found) == (
        "In 3 of 4 cells a growing recipe beats full training, in 1 of them every constant depth too; "
        "in 1 it loses, and in 0 it cannot be told."
    )


def test_a_law_of_two_models_says_that_there_are_too_few(found: MapResults) -> None:
    (law,) = describe_laws(found)
    assert law.endswith("from two models, too few for a trend with size.")
    assert "each doubling of parameters" not in law


def test_the_report_is_complete_and_escapes_names(found: MapResults, tmp_path: Path) -> None:
    cells = [{**cell.to_json(), "arm": "<b>one & only"} for cell in found.cells]
    page = draw_map(_map(*cells, name="<script>"), tmp_path)
    html = page.read_text()
    assert "<script" not in html and "&lt;b&gt;one &amp; only" in html
    for link in re.findall(r'href="([^"]+)"', html):
        inside = (page.parent / link).resolve().relative_to(tmp_path.resolve())
        assert str(inside).startswith("studies/") or (tmp_path / inside).exists() or str(inside) == "map.json"
    assert {path.name for path in (tmp_path / "report" / "figures").iterdir()} == {
        "map.png",
        "map.svg",
        "map-dark.png",
        "map-dark.svg",
    }


def test_the_table_has_a_line_per_cell(found: MapResults, tmp_path: Path) -> None:
    draw_map(found, tmp_path)
    lines = list(csv.DictReader((tmp_path / "map.csv").open()))
    assert [(line["model_name"], line["multiplier"]) for line in lines] == [
        (cell.model.name, str(cell.multiplier)) for cell in found.cells
    ]
    assert lines[3]["bounds_high"] == "above"


def test_a_map_without_cells_is_drawn(tmp_path: Path) -> None:
    assert "No cell of the map is measured yet." in draw_map(_map(), tmp_path).read_text()
