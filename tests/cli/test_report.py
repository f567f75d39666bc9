"""`deepen report`: a study's results again, also where its folder cannot be written."""

from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.study.results.results_file import load_results, write_results
from deepen.study.results.schema import Results

POINT = {"tokens": 64, "step": 2, "flops": 1000, "seconds": 1.0, "val_loss": 4.0, "train_loss": 4.1}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with the results of a study whose names look like markup."""
    mark = POINT | {"accounting": "flops", "budget_share": 1.0, "annealed": True}
    arms = [{"name": name, "seed": 0, "curve": [POINT], "marks": [mark]} for name in ("[/x]", "lr[ablation]")]
    (tmp_path / "study").mkdir()
    content = {"study": "[bold]", "baseline": "[/x]", "arms": arms}
    write_results(Results.from_json(content), tmp_path / "study")
    return tmp_path / "study"


@pytest.mark.slow
def test_the_results_are_printed_and_drawn_in_another_folder(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "elsewhere" / "out"
    assert main(["report", str(study), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "There is no finding yet" in printed and "[bold]: validation loss" in printed
    assert any(line.startswith("[/x] ") for line in printed.splitlines())
    assert f"Report: {out / 'report' / 'index.html'}" in printed
    page = (out / "report" / "index.html").read_text()
    assert "lr[ablation]" in page and "[bold]" in page
    assert load_results(out) == load_results(study) and [path.name for path in study.iterdir()] == ["results.json"]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_drawn(
    study: Path, capsys: pytest.CaptureFixture[str]
):
    out = study / "results.json" / "out"
    assert main(["report", str(study), "--out", str(out)]) == 2
    problem = f"error: --out {out} cannot be written to: name a folder for the report with --out"
    assert capsys.readouterr().err.splitlines() == [problem]


def test_results_are_published_for_a_repository(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "docs" / "study"
    assert main(["report", str(study), "--publish", str(out), "--points", "3"]) == 0
    printed = capsys.readouterr().out
    assert "results.json" in printed and "tables.md" in printed
    assert [arm.name for arm in load_results(out).arms] == ["[/x]", "lr[ablation]"]
