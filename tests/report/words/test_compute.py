"""What differences are worth in compute and in seconds, in sentences."""

from typing import Any

import pytest

from deepen.report.page.rows import make_rows
from deepen.report.words.finding import describe_finding
from written_verdicts import arm, study, verdict


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"multiplier_interval": [1.02, 1.6]},
            "full training would reach the loss of arm 0 with about 1.25 times its compute (95 %: 1.02 to 1.60), "
            "a saving of 20 % (2 to 38 %).",
        ),
        (
            {"multiplier_interval": [1.02, 1.4], "multiplier_interval_bounds": [None, "above"]},
            "about 1.25 times its compute (95 %: 1.02 to above 1.40), a saving of 20 % (at least 2 %).",
        ),
        (
            {"multiplier_interval": [1.25, 1.4], "multiplier_bound": "above", "confidence": 0.9875},
            "with at least 1.25 times its compute (98.75 %), a saving of at least 20 %.",
        ),
        (
            {"compute_multiplier": 1.4, "multiplier_interval": [1.25, 1.4], "multiplier_bound": "above"},
            "with at least 1.25 times its compute",  # a file of an older version
        ),
    ],
)
def test_a_multiplier_and_its_saving_have_intervals_or_are_bounds(more: dict[str, Any], sentence: str):
    compute = describe_finding(study(verdict("arm 0", "wins", **more))).compute
    assert sentence in compute


def test_the_multiplier_in_seconds_is_a_sentence_of_its_own_and_a_withheld_one_has_its_reason():
    seconds = {"seconds_multiplier": 1.1, "seconds_multiplier_interval": [0.9, 1.4]}
    assert (
        "In seconds, as measured here: 1.10× (0.90 to 1.40)."
        in describe_finding(study(verdict("a", "wins", **seconds))).compute
    )
    none = {"compute_multiplier": None, "multiplier_withheld": "its rate is the highest that was tried"}
    some = describe_finding(study(verdict("a", "wins"), verdict("b", "wins", **none))).compute
    assert "No multiplier is claimed for b: its rate is the highest that was tried." in some
    assert "No multiplier is claimed: its rate" in describe_finding(study(verdict("b", "wins", **none))).compute


def test_verdicts_at_other_budgets_are_a_sentence_of_their_own():
    later = [
        verdict("a", "loses", budget_share=1.27),
        verdict("b", "wins", budget_share=1.69),
        verdict("c", "cannot tell", budget_share=1.62),
    ]
    study_of_four = study(verdict("a", "wins", budget_share=1.0), *later)
    finding = describe_finding(study_of_four)
    assert finding.headline == "At equal compute, a beats full training."
    assert "At other budgets, b wins at 1.69 times the study’s and a loses at 1.27 times the" in finding.compute
    rows = {(row.arm, row.mark, row.budget, row.note) for row in make_rows(study_of_four) if row.arm != "full"}
    assert ("a", "", "", "") in rows
    assert ("b", "other budgets", "1.69 ×", "") in rows
    assert "At 1.62 times the budget, no arm can be told apart" in describe_finding(study(later[2])).compute
    alone = verdict("small", "wins", budget_share=1.4)
    at_anchors = study(*later, alone, arms=(arm("small", is_control=True),))
    assert "small" not in [row.arm for row in make_rows(at_anchors)], "only a control has this budget"
    few = study(verdict("a", "wins"), verdict("a", "wins", budget_share=0.5), regime={"tokens_per_parameter": 20})
    assert {row.budget: row.is_decisive for row in make_rows(few) if row.arm == "a"} == {"": True, "0.50 ×": False}


def test_the_papers_mark_is_described_as_unequal_compute():
    paper = verdict("a", "wins", accounting="paper")
    marks = [*arm("a")["marks"], arm("a")["marks"][0] | {"accounting": "paper", "flops": 1100}]
    compute = describe_finding(study(verdict("a", "wins"), paper, arms=(arm("a") | {"marks": marks},))).compute
    assert (
        "At the paper’s own marks, which are not equal in exact FLOPs (1.10 times the baseline’s at most) and "
        "decide nothing, the difference is −0.050."
    ) in compute


def test_nothing_wins_or_loses_at_the_papers_marks():
    verdicts = [verdict(f"arm {i}", outcome, accounting="paper") for i, outcome in enumerate(["wins", "loses"])]
    compute = describe_finding(study(*verdicts)).compute
    assert "the differences are −0.050 to +0.050." in compute and "win" not in compute
