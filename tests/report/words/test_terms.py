"""The page's words: the same as the glossary's, and every link to one has a target."""

import re
from pathlib import Path

import pytest

from deepen.report.page.page import render_page
from deepen.report.summary.study_summary import summarize
from deepen.report.words.terms import TERMS
from deepen.study.results.schema import Results

GLOSSARY = Path(__file__).parents[3] / "docs" / "glossary.md"


def strip_markup(text: str) -> str:
    """Text without links in parentheses, emphasis and code marks."""
    return re.sub(r" \(\[.*?\]\(.*?\)\)|[`*]", "", text).strip()


@pytest.mark.parametrize("term", TERMS)
def test_a_word_is_explained_as_in_the_glossary(term: str):
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", GLOSSARY.read_text(), flags=re.M))
    assert strip_markup(rows[term]) == TERMS[term]


def test_every_link_within_the_page_has_a_target():
    mark = {
        "accounting": "flops",
        "budget_share": 1.0,
        "tokens": 60,
        "flops": 1e9,
        "val_loss": 4.0,
        "annealed": True,
    }
    curve = [{"tokens": 30, "depth": 2, "val_loss": 5.0}, {"tokens": 60, "depth": 2, "val_loss": 4.0}]
    arms = [{"name": name, "seed": 0, "marks": [mark], "curve": curve} for name in ("full", "small")]
    verdict = {"arm": "small", "budget_share": 1.0, "difference": 0.1, "interval": [-0.1, 0.3], "n_seeds": 2}
    trials = [{"peak": 0.01, "options": {}, "loss": 4.0}]
    tuning = {
        "arms": [{"name": "full", "depth": 2, "is_fixed_depth": True, "trials": trials, "chosen_peak": 0.01}]
    }
    content = {"baseline": "full", "arms": arms, "verdicts": [verdict], "tuning": tuning}
    page = re.sub(r"<script.*?</script>", "", render_page(summarize(Results.from_json(content)), ()), flags=re.S)
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert len(links) > 5 and links <= set(re.findall(r' id="([^"]+)"', page))
    explained = set(re.findall(r' id="(word-[^"]+)"', page))
    assert explained == {link for link in links if link.startswith("word-")}  # only the words that are used
