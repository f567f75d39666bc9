"""Publishing a study: files for a repository, and pages whose tables are filled from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepen.errors import InvalidValueError
from deepen.report.publish.pages import render_page, render_table
from deepen.report.publish.publish import publish, publish_group, publish_map
from deepen.report.publish.tables import TABLES
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.map.run_map import collect_map
from deepen.study.map.schema import load_map, write_map
from deepen.study.results.results_file import ResultsError, load_results, write_results
from deepen.study.results.schema import Results
from depth_studies import DEPTHS, make_depths

PAGE = """# Winner

We asked. <!-- table: winner/seeds -->
old numbers
<!-- end -->
Between.

<!-- figure: winner/budgets -->
<!-- end -->
"""


def make_arm(name: str, seed: int, loss: float) -> dict[str, object]:
    marks = [
        {
            "accounting": "flops", "budget_share": share, "budget_flops": 1e9 * share, "flops": 1e9 * share,
            "tokens": 1000, "val_loss": loss + seed / 100 - share, "annealed": True,
        }
        for share in (0.5, 1.0)
    ]  # fmt: skip
    return {"name": name, "recipe": name, "seed": seed, "marks": marks}


@pytest.fixture
def results() -> Results:
    arms = [make_arm(name, seed, loss) for name, loss in (("full", 4.0), ("mid|dle_*", 3.9)) for seed in (0, 1)]
    regime = {"tokens_per_parameter": 20.0, "model": "nano"}
    return Results.from_json({"study": "made up", "baseline": "full", "arms": arms, "regime": regime})


def test_the_blocks_of_a_page_are_filled_and_the_rest_is_kept(results: Results, tmp_path: Path):
    page = tmp_path / "winner.md"
    page.write_text(PAGE)
    published = publish(results, tmp_path / "winner")
    assert published.pages == (page,)
    text = page.read_text()
    assert text.startswith("# Winner\n\nWe asked. <!-- table: winner/seeds -->\n| arm | seed 0 | seed 1 | mean |")
    assert "| mid\\|dle\\_\\* | 2.900 | 2.910 | 2.905 | −0.100 |\n<!-- end -->\nBetween.\n" in text
    assert "old numbers" not in text
    for path in ("winner/figures/budgets.svg", "winner/figures/budgets-dark.svg"):
        assert f'"{path}"' in text and (tmp_path / path).is_file()
    # Only the figures that a page shows are written.
    assert {path.name for path in (tmp_path / "winner" / "figures").iterdir()} == {
        "budgets.svg",
        "budgets-dark.svg",
    }


def test_the_table_of_verdicts_names_the_constant_depths_that_are_not_beaten(results: Results):
    def table(
        beaten: tuple[str, ...],
        unbeaten: tuple[str, ...],
        at_edge: tuple[str, ...] = (),
        better: tuple[str, ...] = (),
    ) -> str:
        judged = with_verdicts(results)
        verdicts = [
            replace(
                v,
                depths_beaten=beaten,
                depths_not_beaten=unbeaten,
                depths_better=better,
                depths_at_edge=at_edge,
            )
            for v in judged.verdicts
        ]
        return str(TABLES["verdicts"].make(replace(judged, verdicts=tuple(verdicts))))

    assert "| constant depths not beaten |" in table(("full", "two"), ()) and "| none |" in table(
        ("full", "two"), ()
    )
    assert "| none (rate at the edge: two) |" in table(("full", "two"), (), ("two",))
    assert "| two |" in table(("full",), ("two",))
    assert "| two (better) |" in table(("full",), ("two",), better=("two",))
    assert "constant depths" not in table(("full",), ())


def test_publishing_what_is_published_changes_nothing(results: Results, tmp_path: Path):
    (tmp_path / "winner.md").write_text(PAGE)
    folder = tmp_path / "winner"
    publish(results, folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    publish(load_results(folder), folder)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_page_of_all_tables_has_each_that_the_study_has_lines_for(results: Results, tmp_path: Path):
    published = publish(results, tmp_path)
    text = (tmp_path / "tables.md").read_text()
    for name, kind in TABLES.items():
        assert (f"## {kind.title}\n" in text) == (name in ("verdicts", "budgets", "seeds", "facts", "sentences"))
    assert set(published.files) == {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }


def test_the_table_of_verdicts_has_a_baseline_at_each_budget(results: Results, tmp_path: Path):
    publish(results, tmp_path)
    rows = [line.split(" | ") for line in render_table(tmp_path, "verdicts").splitlines()[2:]]
    assert [row[0] for row in rows] == ["| full", "| mid\\|dle\\_\\*"] * 2
    assert [row[1] for row in rows] == ["20", "20", "10", "10"]
    assert all(row[3].startswith("−0.100 (") for row in rows[1::2])


def test_a_block_that_nothing_can_fill_is_an_error_and_the_page_stays(results: Results, tmp_path: Path):
    page = tmp_path / "winner.md"
    page.write_text(PAGE.replace("winner/seeds", "winner/sedes"))
    with pytest.raises(InvalidValueError, match=r"winner.md: 'sedes' is not a table of results: use verdicts, "):
        publish(results, tmp_path / "winner")
    assert "old numbers" in page.read_text()
    page.write_text(PAGE.replace("winner/budgets", "winner/budget"))
    with pytest.raises(InvalidValueError, match="shows the figure 'budget' of winner, which has none: use valid"):
        publish(results, tmp_path / "winner")
    page.write_text(PAGE.replace("old numbers\n<!-- end -->", "old numbers"))
    with pytest.raises(InvalidValueError, match=r"winner.md: <!-- table: winner/seeds --> has no end: write "):
        publish(results, tmp_path / "winner")
    with pytest.raises(InvalidValueError, match="winner has nothing for the table 'trials': leave the block out"):
        render_table(tmp_path / "winner", "trials")
    with pytest.raises(ResultsError, match="does not exist"):
        render_page("<!-- table: nobody/seeds -->\n<!-- end -->", tmp_path)


@pytest.mark.slow
def test_studies_are_published_and_compared(tmp_path: Path):
    folder, out = tmp_path / "runs", tmp_path / "docs" / "depths"
    for width in (24, 48):
        (folder / f"w{width}").mkdir(parents=True)
        write_results(make_depths(width=width), folder / f"w{width}")
    page = tmp_path / "docs" / "depths.md"
    page.parent.mkdir()
    page.write_text(
        "<!-- table: depths/best-depths -->\n<!-- end -->\n<!-- figure: depths/isoflops -->\n<!-- end -->\n"
        "<!-- table: depths/w24/isoflops -->\n<!-- end -->\n"
    )
    published = publish_group(folder, out)
    assert published.pages == (page,)
    text = page.read_text()
    assert "| depths, width 24 | 5.0 (5.0 to 5.0) |" in text and "| depths, width 48 | " in text
    assert "| budget (FLOPs) | 2 | 3 | 4 | 6 | 8 | 12 | minimum (95 %) |" in text
    assert {"isoflops.csv", "figures/isoflops.svg", "w24/results.json"} <= set(published.files)
    assert "w24/figures/isoflops.svg" not in published.files  # no page shows it
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    publish_group(out, out)  # from what is published
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_map_is_published_with_its_studies(tmp_path: Path):
    """The page is three folders above the study that it shows."""
    folder, out = tmp_path / "run", tmp_path / "docs" / "map"
    (folder / "studies" / "w24").mkdir(parents=True)
    content = make_depths().to_json()
    for arm in content["arms"]:
        if arm["name"] == "depth 4":
            [phase] = arm["phases"]
            arm |= {"recipe": "one-shot", "is_control": False, "phases": [phase | {"depth": 2}, phase]}
    content["regime"]["baseline_tokens"], content["regime"]["tokens_per_parameter"] = 24_000, 20.0
    write_results(with_verdicts(Results.from_json(content)), folder / "studies" / "w24")
    write_map(collect_map(folder), folder)
    page = tmp_path / "README.md"
    page.write_text(
        "<!-- table: docs/map/map-cells -->\n<!-- end -->\n<!-- table: docs/map/map-sentences -->\n<!-- end -->\n"
        "<!-- figure: docs/map/map -->\n<!-- end -->\n"
    )
    publish_map(folder, out)
    assert "| depth 4 | " in page.read_text() and "cells a growing recipe beats full training" in page.read_text()
    assert (out / "figures" / "map.svg").is_file() and (out / "figures" / "map-dark.svg").is_file()
    assert load_map(out).cells == collect_map(out).cells
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    publish_map(out, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_blocks_of_studies_that_are_not_published_yet_stay(results: Results, tmp_path: Path):
    page = tmp_path / "page.md"
    other = "<!-- table: later/seeds -->\nto come\n<!-- end -->\n"
    page.write_text(PAGE + other)
    publish(results, tmp_path / "winner")
    assert page.read_text().endswith(other) and "| mid" in page.read_text()


def test_only_figures_of_its_own_are_removed(results: Results, tmp_path: Path):
    publish(results, tmp_path / "winner")
    figures = tmp_path / "winner" / "figures"
    (figures / "drawn-by-hand.svg").write_text("<svg/>")
    assert (figures / "verdicts.svg").is_file()
    (tmp_path / "winner.md").write_text(PAGE)  # shows the figure `budgets` alone
    publish(results, tmp_path / "winner")
    names = {path.name for path in figures.iterdir()}
    assert names == {"budgets.svg", "budgets-dark.svg", "drawn-by-hand.svg"}


def test_pages_above_may_have_any_bytes(results: Results, tmp_path: Path):
    (tmp_path / "notes.md").write_bytes(b"caf\xe9")
    page = tmp_path / "winner.md"
    page.write_bytes(b"caf\xe9\n" + PAGE.encode())
    publish(results, tmp_path / "winner")
    assert (tmp_path / "notes.md").read_bytes() == b"caf\xe9"
    assert page.read_bytes().startswith(b"caf\xe9\n# Winner") and b"| mid" in page.read_bytes()


def test_budgets_without_a_known_model_are_shares(results: Results, tmp_path: Path):
    publish(replace(results, regime=replace(results.regime, tokens_per_parameter=None)), tmp_path)
    header = render_table(tmp_path, "budgets").splitlines()[0]
    assert header == "| arm | 0.50 × the budget | 1.00 × the budget |"


@pytest.mark.slow
def test_a_table_of_several_studies_is_made_when_all_of_them_are_published(tmp_path: Path):
    """The study that comes first has too few depths for the table."""
    for name, depths in (("a", (2, 12)), ("b", DEPTHS)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_results(make_depths(depths=depths), tmp_path / "runs" / name)
    page = tmp_path / "docs" / "depths.md"
    page.parent.mkdir()
    page.write_text("<!-- table: depths/best-depths -->\n<!-- end -->\n")
    assert publish_group(tmp_path / "runs", tmp_path / "docs" / "depths").pages == (page,)
    assert "| depths, width 24 | 5.0 (" in page.read_text()
