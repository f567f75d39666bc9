"""The table of seeds, and the seeds in the drawings of verdicts."""

from typing import Any

from deepen.report.page.rows import DrawnRange, make_rows
from deepen.report.page.seed_rows import make_seed_rows
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.study.results.schema import Results


def arm(name: str, *losses: float) -> list[dict[str, Any]]:
    mark = {"accounting": "flops", "budget_share": 1.0, "tokens": 64, "flops": 1000}
    return [{"name": name, "seed": seed, "marks": [mark | {"val_loss": loss}]} for seed, loss in enumerate(losses)]


def study(**more: Any) -> StudySummary:
    arms = [*arm("full", 4.0, 4.1), *arm("a", 3.9, 4.06), *arm("b", 4.2)]
    return summarize(Results.from_json({"baseline": "full", "arms": arms} | more))


def test_each_seed_has_its_loss_and_its_difference_from_the_baseline_with_the_same_seed():
    full, a, b = make_seed_rows(study())
    assert full.losses == ("4.000", "4.100", "4.050") and set(full.differences) == {""}
    assert a.losses == ("3.900", "4.060", "3.980") and a.differences == ("−0.100", "−0.040", "−0.070")
    assert b.losses == ("4.200", "–", "–") and b.differences == ("+0.200", "–", "–"), "no mean over other seeds"


def test_one_seed_has_no_table():
    assert make_seed_rows(study(arms=[*arm("full", 4.0), *arm("a", 3.9)])) == []


def test_a_drawing_has_a_dot_for_each_seed_and_a_band_of_what_cannot_be_told():
    verdict = {"arm": "a", "difference": -0.07, "interval": [-0.12, -0.02], "differences": [-0.1, -0.04]}
    drawn = study(verdicts=[verdict], noise={"half_width": 0.05})
    drawn_range = DrawnRange(drawn)
    assert drawn_range.band is not None and drawn_range.band[0] < drawn_range.zero < drawn_range.band[1]
    drawing = make_rows(drawn)[1].drawing
    assert drawing is not None and drawing.low is not None and drawing.high is not None
    first, second = drawing.seeds
    assert drawing.low < first < drawing.at < second < drawing.high
    assert DrawnRange(study(verdicts=[verdict])).band is None, "files of older versions have no band"
