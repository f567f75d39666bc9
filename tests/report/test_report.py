"""The page and figures of a real study, and of one whose names want to be code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepen.durable import write_json
from deepen.report import write_report
from deepen.study.define.study import Arm, Study


@pytest.fixture
def study_folder(
    make_study: Callable[..., Study], run_study: Callable[..., dict[str, Any]], tmp_path: Path
) -> Path:
    arms = tuple(arm for arm in make_study().arms if arm.name in ("full", "two-phase S=4", "one-shot", "small"))
    results = run_study(make_study(arms=arms, seeds=(0, 1)), tmp_path / "study")
    write_json(tmp_path / "study" / "results.json", results)
    return tmp_path / "study"


def test_the_page_tells_every_arm_and_stands_alone(study_folder: Path):
    page = write_report(study_folder).read_text()
    results = json.loads((study_folder / "results.json").read_text())
    for verdict in results["verdicts"]:
        assert verdict["arm"] in page
    assert f"{results['verdicts'][0]['loss']:.3f}" in page
    assert "<script src=" not in page and '<link rel="stylesheet"' not in page
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)  # plotly's own text names addresses
    assert not re.search(r"(src|href|url)\W{1,2}(https?:)?//", markup)


def test_figures_come_as_pictures_and_drawings(study_folder: Path):
    write_report(study_folder)
    figures = study_folder / "report" / "figures"
    for name in ("validation-loss", "training-loss", "verdicts"):
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (figures / f"{name}.svg").read_text()


def test_strings_from_a_file_stay_strings(study_folder: Path):
    hostile = '</script><img src=x onerror="alert(1)">'
    results = json.loads((study_folder / "results.json").read_text())
    for part in (*results["arms"], *results["verdicts"]):
        name = part.get("name", part.get("arm"))
        if name == "one-shot":
            part["name" if "name" in part else "arm"] = hostile
            part["sentence"] = hostile
    results["study"] = results["regime"]["machine"] = hostile
    write_json(study_folder / "results.json", results)
    page = write_report(study_folder).read_text()
    assert hostile not in page and "<img src=x" not in page


def test_a_study_that_has_only_begun_is_told_as_one(make_study: Callable[..., Study], tmp_path: Path, dataset):
    from deepen.study.compile.tree import compile_study
    from deepen.study.results.collect import collect
    from deepen.study.results.schema import write_results
    from deepen.study.store.study_folder import Store

    study = make_study(arms=(Arm(name="full", recipe="full"), Arm(name="small", recipe="small")))
    tree = compile_study(study, dataset.fingerprint)
    write_results(collect(tree, Store(tmp_path), dataset, machine="", wall_seconds=0.0), tmp_path)
    assert "no finding yet" in write_report(tmp_path).read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"arms": 3}', "null"])
def test_a_file_that_is_no_results_is_refused(content: str, tmp_path: Path):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results\.json"):
        write_report(tmp_path)
