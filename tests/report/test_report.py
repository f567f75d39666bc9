"""The page and figures of a real study, and of one whose strings are hostile."""

import csv
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepen.data.shards import Dataset
from deepen.report import draw_report
from deepen.report.page.facts import describe_rate
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Arm, Study
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.collect import collect
from deepen.study.results.regime import Regime
from deepen.study.results.results_file import write_results
from deepen.study.results.schema import Results
from deepen.study.store.study_folder import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained") / "study"


@pytest.fixture
def results(make_study: Callable[..., Study], run_study: Callable[..., dict[str, Any]], trained: Path) -> Results:
    """A study of two seeds, trained once for this module."""
    arms = tuple(arm for arm in make_study().arms if arm.name in ("full", "two-phase S=4", "one-shot", "small"))
    return Results.from_json(run_study(make_study(arms=arms, seeds=(0, 1)), trained))


def markup(page: str) -> str:
    """A page without its scripts: plotly's source contains links."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_the_page_shows_every_arm_and_needs_no_other_file(results: Results, tmp_path: Path):
    page = draw_report(results, tmp_path).read_text()
    for verdict in results.verdicts:
        assert verdict.arm in page
    assert f"{results.verdicts[0].loss:.3f}" in page
    assert "<script src=" not in page and '<link rel="stylesheet"' not in page
    assert not re.search(r"(src|href|url)\W{1,2}(https?:)?//", markup(page))


def test_controls_are_marked_and_the_small_model_is_compared_with_the_winners(results: Results, tmp_path: Path):
    """The fields of the results decide, not the names of recipes."""
    renamed = replace(results, arms=tuple(replace(arm, recipe="mine") for arm in results.arms))
    page = draw_report(renamed, tmp_path).read_text()
    assert page == draw_report(results, tmp_path).read_text()
    assert page.count('<span class="tag">control</span>') == 2  # its strip, and its row among the verdicts
    assert "No small model was trained alone" not in page


def test_the_page_shows_the_excess_of_the_arms_that_grew(results: Results, tmp_path: Path):
    [one_shot] = {arm.growths for arm in results.arms if arm.name == "one-shot"}
    assert [(growth.depth_before, growth.depth_after) for growth in one_shot] == [(6, 12)]
    assert all(not arm.growths for arm in results.arms if arm.name in ("full", "small"))
    page = draw_report(results, tmp_path).read_text()
    assert page.count("one-shot last grew from 6 to 12 blocks") == 1
    assert "small last grew" not in page and "full last grew" not in page


def test_figures_that_are_no_longer_drawn_are_removed_and_files_of_others_are_not(
    results: Results, tmp_path: Path
):
    draw_report(results, tmp_path)
    figures = tmp_path / "report" / "figures"
    (figures / "mine.png").write_bytes(b"a user's own")
    alone = tuple(arm for arm in results.arms if arm.name == results.baseline)
    draw_report(replace(results, arms=alone, verdicts=()), tmp_path)
    assert not list(figures.glob("verdicts.*"))
    assert (figures / "mine.png").exists() and (figures / "validation-loss.svg").exists()


def test_figures_come_as_png_and_svg(results: Results, tmp_path: Path):
    draw_report(results, tmp_path)
    figures = tmp_path / "report" / "figures"
    for name in ("validation-loss", "training-loss", "verdicts", "excess-loss-since-growth"):
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (figures / f"{name}.svg").read_text()


def test_the_numbers_are_linked_as_json_and_csv(results: Results, tmp_path: Path):
    write_results(results, tmp_path)
    page = draw_report(results, tmp_path)
    links = re.findall(r'<a href="([^"#]+)"', markup(page.read_text()))
    assert {"../results.json", "curves.csv", "marks.csv", "verdicts.csv"} <= set(links)
    assert all((page.parent / link).is_file() for link in links)
    with (page.parent / "curves.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    points = [(arm, point) for arm in results.arms for point in arm.curve]
    assert len(lines) == len(points)
    for line, (arm, point) in zip(lines, points, strict=True):
        assert (line["arm"], int(line["seed"]), int(line["tokens"])) == (arm.name, arm.seed, point.tokens)
        assert float(line["val_loss"]) == point.val_loss and line["phase"] == point.phase
    with (page.parent / "verdicts.csv").open(newline="") as file:
        ends = [(float(line["interval_low"]), float(line["interval_high"])) for line in csv.DictReader(file)]
    assert ends == [verdict.interval for verdict in results.verdicts]


def test_an_unfinished_study_shows_how_far_its_runs_are(results: Results, tmp_path: Path):
    first, *others = results.arms
    partly = replace(first, curve=first.curve[:2], marks=(), trained_share=0.437)
    unfinished = with_verdicts(replace(results, arms=(partly, *others), trained_share=0.9))
    page = draw_report(unfinished, tmp_path).read_text()
    assert "This study is unfinished: 90 % of its compute is trained." in page
    assert '<td class="number">43 %</td>' in page and "% trained" in page and "triangle-right" in page
    assert not any(verdict.arm == first.name for verdict in unfinished.verdicts)
    assert "Unfinished runs" not in draw_report(results, tmp_path).read_text()


def test_strings_from_a_file_stay_strings(results: Results, tmp_path: Path):
    hostile = '</script><img src=x onerror="alert(1)">'
    content = json.loads(json.dumps(results.to_json()))
    for part in (*content["arms"], *content["verdicts"]):
        name = part.get("name", part.get("arm"))
        if name == "one-shot":
            part["name" if "name" in part else "arm"] = hostile
            part["sentence"] = hostile
    content["study"] = content["regime"]["machine"] = hostile
    page = draw_report(Results.from_json(content), tmp_path).read_text()
    assert hostile not in page and "<img src=x" not in page


def test_characters_that_no_font_has_are_drawn_without_a_warning(results: Results, tmp_path: Path):
    content = results.to_json()
    content["arms"][0]["name"] = "🌱"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_report(Results.from_json(content), tmp_path)


def test_a_study_without_results_has_a_report(make_study: Callable[..., Study], tmp_path: Path, dataset: Dataset):
    study = make_study(arms=(Arm(name="full", recipe="full"), Arm(name="small", recipe="small")))
    tree = compile_study(study, dataset.fingerprint)
    results = collect(tree, Store(tmp_path), dataset, machine="", wall_seconds=0.0)
    assert "no finding yet" in draw_report(results, tmp_path).read_text()


def test_a_single_arm_has_a_report_of_its_run_and_no_verdicts(results: Results, tmp_path: Path):
    one = next(arm for arm in results.arms if arm.name == "one-shot")
    alone = replace(results, arms=(one,), baseline="one-shot", verdicts=())
    shown = markup(draw_report(alone, tmp_path).read_text())
    assert "one-shot ends at a validation loss of" in shown
    for words in ("<h2>Verdicts", "finding yet", "multiplier", "equal compute", "equal exact", "against ordinary"):
        assert words not in shown.split("</style>")[1]
    figures = tmp_path / "report" / "figures"
    assert not list(figures.glob("verdicts.*")) and (figures / "overview.png").is_file()


def test_the_rate_is_described_with_its_warm_up_and_decay():
    known = {"rate": "wsd", "peak_lr": 0.003}
    assert describe_rate(Regime.from_json(known)) == "warm-up, stable, decay, peak 0.003"
    decay = {"decay_shape": "sqrt", "decay_share": 0.2, "decay_in": "compute", "final_share": 0.1}
    assert describe_rate(Regime.from_json(known | {"warmup_tokens": 2000} | decay)) == (
        "warm-up, stable, decay, peak 0.003, warm-up 2,000 tokens, sqrt decay over the last 20 % of the compute, "
        "down to 10 % of the peak"
    )
