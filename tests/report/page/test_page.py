"""What the page says about each of its tables of verdicts."""

from typing import Any

from deepen.report.page.page import render_page
from deepen.report.summary.study_summary import summarize
from deepen.study.results.schema import Results


def verdict(baseline: str, **more: Any) -> dict[str, Any]:
    return {
        "arm": "stack",
        "baseline": baseline,
        "accounting": "flops",
        "budget_share": 1.0,
        "difference": -0.1,
    } | more


def test_each_table_gives_its_own_reason_for_missing_multipliers():
    content = {
        "baseline": "full",
        "best_fixed_depth": "depth 6",
        "arms": [{"name": name, "seed": 0} for name in ("full", "stack", "depth 6")],
        "verdicts": [verdict("full", compute_multiplier=1.2)],
        "depth_verdicts": [verdict("depth 6", multiplier_withheld="the rate is at the edge")],
    }
    page = render_page(summarize(Results.from_json(content)), figures=())
    table = page[page.index("Verdicts against the best fixed depth") :]
    assert "No multiplier is claimed: the rate is at the edge." in table
