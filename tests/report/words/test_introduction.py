"""What was trained, in sentences."""

import pytest

from deepen.report.summary.study_summary import summarize
from deepen.report.words.finding import describe_finding
from deepen.report.words.introduction import describe_comparison
from deepen.study.results.schema import Results
from written_verdicts import arm, study, verdict


def test_a_single_arm_is_described_by_where_it_ended_and_compared_with_nothing():
    alone = study()
    finding = describe_finding(alone)
    assert finding.headline == "full ends at a validation loss of 4.000 nats per token."
    assert finding.found == "2 steps, 64 tokens, 1.00 × 10³ exact FLOPs and 1.0 s."
    assert not (finding.limits or finding.compute or finding.caveats)
    assert describe_comparison(alone) == (
        "One run of full: a 12-layer model of 124 M parameters, trained on words for the compute of full training "
        "on 1.00 B tokens."
    )


def test_a_single_arm_that_is_unfinished_is_described_by_how_far_it_is():
    begun = arm("full") | {"marks": [], "trained_share": 0.43}
    alone = summarize(Results.from_json({"baseline": "full", "arms": [begun], "trained_share": 0.43}))
    finding = describe_finding(alone)
    assert finding.headline == "full has not reached its end yet." and "43 % of its compute" in finding.progress


@pytest.mark.parametrize(
    ("depth", "model"), [(4, "a 4-layer"), (8, "an 8-layer"), (11, "an 11-layer"), (80, "an 80-")]
)
def test_the_depth_of_the_model_has_its_article(depth: int, model: str):
    assert f"full training of {model}" in describe_comparison(study(arms=(arm("a"),), regime={"depth": depth}))


def test_the_comparison_names_arms_model_and_data():
    assert describe_comparison(study(arms=(arm("a"), arm("b")))) == (
        "Two ways to use the compute of ordinary full training of a 12-layer model of 124 M parameters on 1.00 B "
        "tokens of words."
    )
    unknown = study(verdict("a", "wins"), regime={})
    assert describe_comparison(unknown) == "Ordinary full training of one model."
