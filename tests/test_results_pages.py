"""docs/results: each page has its parts, and its tables are those that follow from the published results."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepen.report.publish.pages import render_page
from deepen.study.advise import MEASURED_MAP
from deepen.study.judge.verdicts import with_verdicts
from deepen.study.results.results_file import load_results, write_results
from depth_studies import make_depths

RESULTS = Path(__file__).parent.parent / "docs" / "results"
PAGES = [page for page in sorted(RESULTS.glob("*.md")) if page.name != "README.md"]
STUDIES = sorted(path.parent for path in RESULTS.rglob("results.json"))

PARTS = ("question", "hypothesis", "command", "interpretation", "what would falsify it", "files")
"""Headings that every page has, of any level."""

MAX_BYTES = 400_000
"""Of a published results.json: more does not belong into a repository."""


def find_problems(page: Path) -> Iterator[str]:
    """What a page of results lacks, and what is not as its files are."""
    text = page.read_text()
    headings = {heading.strip().lower() for heading in re.findall(r"^#+ (.*)$", text, re.M)}
    yield from (f"no heading {part!r}" for part in PARTS if part not in headings)
    if not re.search(r"```(?:console|bash|sh|text)\n(?:\$ )?(?:deepen|python) ", text):
        yield "no command in a block of its own"
    for kind in ("table", "figure"):
        if f"<!-- {kind}: " not in text:
            yield f"no {kind}"
    if render_page(text, page.parent) != text:
        yield "a block is not what its results.json gives: publish the study again"
    links = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    yield from (
        f"{link} does not exist" for link in links if "://" not in link and not (page.parent / link).exists()
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_its_parts_and_its_tables_follow_from_the_results(page: Path):
    assert not list(find_problems(page))


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.relative_to(RESULTS).as_posix())
def test_published_verdicts_follow_from_the_published_losses(study: Path):
    assert (study / "results.json").stat().st_size < MAX_BYTES
    results = load_results(study)
    judged = with_verdicts(results)
    for stored, found in zip(
        (*results.verdicts, *results.depth_verdicts), (*judged.verdicts, *judged.depth_verdicts), strict=True
    ):
        assert (stored.arm, stored.budget_share, stored.outcome) == (found.arm, found.budget_share, found.outcome)
        assert stored.sentence == found.sentence
        assert (stored.depths_beaten, stored.depths_not_beaten) == (found.depths_beaten, found.depths_not_beaten)


def test_the_map_that_ships_with_the_package_is_the_published_one():
    assert MEASURED_MAP.read_bytes() == (RESULTS / "map" / "map.json").read_bytes()


def test_the_index_names_every_page():
    if PAGES:
        index = (RESULTS / "README.md").read_text()
        assert [page.name for page in PAGES if f"]({page.name})" not in index] == []


WHOLE = """# Depth
## Question
## Hypothesis
## Command

```console
$ deepen study depths.py
```

<!-- table: depths/isoflops -->
<!-- end -->

<!-- figure: depths/isoflops -->
<!-- end -->

## Interpretation
## What would falsify it
## Files

[results.json](depths/results.json)
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page that has everything."""
    (tmp_path / "depths" / "figures").mkdir(parents=True)
    write_results(make_depths(), tmp_path / "depths")
    for name in ("isoflops", "isoflops-dark"):
        (tmp_path / "depths" / "figures" / f"{name}.svg").touch()
    (tmp_path / "depths.md").write_text(render_page(WHOLE, tmp_path))
    return tmp_path / "depths.md"


def test_a_whole_page_has_no_problem(page: Path):
    assert not list(find_problems(page))


@pytest.mark.parametrize(
    ("part", "instead", "problem"),
    [
        ("## Question", "## Questions", "no heading 'question'"),
        ("## What would falsify it", "", "no heading 'what would falsify it'"),
        ("$ deepen", "$ echo", "no command"),
        ("<!-- figure: ", "<!-- ", "no figure"),
        ("<!-- table: ", "<!-- ", "no table"),
        ("| 12 |", "| 13 |", "a block is not what its results.json gives"),
        ("(depths/results.json)", "(depths/other.json)", "depths/other.json does not exist"),
    ],
)
def test_a_part_that_is_missing_is_found(page: Path, part: str, instead: str, problem: str):
    text = page.read_text()
    assert part in text
    page.write_text(text.replace(part, instead))
    assert any(problem in found for found in find_problems(page))
