"""What the page claims in sentences, for verdicts that are written down here."""

import pytest

from deepen.report.page.rows import make_rows
from deepen.report.words.finding import describe_finding
from written_verdicts import arm, find, study, verdict


@pytest.mark.parametrize(
    ("outcomes", "headline"),
    [
        (["wins"], "At equal compute, arm 0 beats full training."),
        (["cannot tell"], "At equal compute, arm 0 cannot be told apart from full training."),
        (["wins"] * 2, "At equal compute, both arms beat full training."),
        (["wins"] * 3, "At equal compute, all three arms beat full training."),
        (["loses"] * 2, "At equal compute, neither arm keeps up with full training."),
        (["cannot tell"] * 2, "At equal compute, neither arm can be told apart from full training."),
        (["loses"] * 3, "At equal compute, none of the three arms keeps up with full training."),
        (
            ["wins", "loses", "cannot tell"],
            "At equal compute, one of three arms beats full training, one does worse and one cannot be told apart "
            "from it.",
        ),
        (
            ["loses", "loses", "cannot tell"],
            "At equal compute, two of three arms do worse than full training, and one cannot be told apart "
            "from it.",
        ),
        (["wins", "wins", "loses"], "At equal compute, two of three arms beat full training and one does worse."),
    ],
)
def test_the_headline_counts_outcomes(outcomes: list[str], headline: str):
    assert find(*outcomes).headline == headline


def test_a_study_without_a_verdict_has_no_finding_yet():
    headline = describe_finding(study(arms=(arm("a"),))).headline
    assert headline == "There is no finding yet: no arm has been compared with full training at equal compute."


def test_what_was_found_names_arms_with_their_differences_and_intervals():
    found = find("wins", "loses", "cannot tell").found
    assert "lower than full training’s with arm 0 (−0.050; −0.070 to −0.030)" in found
    assert "It is higher with arm 1 (+0.050" in found and "For arm 2 (+0.001" in found
    assert found.endswith(
        "In brackets: the difference in nats per token, arm minus full training, and its 95 % interval; "
        "lower is better."
    )
    assert "and one more arm" in find(*["wins"] * 4).found


def test_the_best_of_several_winners_is_compared_through_a_wider_interval():
    """t(0.975, 4) = 2.776 for one pair, t(0.99167, 4) = 3.961 for the best of three winners."""
    names = ("best", "second", "third")
    verdicts = [verdict(name, "wins", difference=-0.05 + i / 1000) for i, name in enumerate(names)]
    shallow = verdict("shallow", "wins", difference=-0.025)
    noise = {"arm_half_width": 0.02, "arms_df": 4, "confidence": 0.95}

    def limits(winners: int) -> str:
        chosen = names[:winners]
        arms = (*map(arm, chosen), arm("shallow", depth=6, is_control=True))
        return " ".join(describe_finding(study(*verdicts[:winners], shallow, arms=arms, noise=noise)).limits)

    assert "does worse than best (+0.025, 95 % interval +0.005 to +0.045)" in limits(1)
    assert "cannot be told from best (+0.025, 95 % interval −0.004 to +0.054)" in limits(3)


def test_the_headline_is_about_the_primary_arm_and_never_about_controls():
    arms = (arm("a"), arm("b"), arm("small", is_control=True))
    verdicts = (verdict("a", "loses"), verdict("b", "wins"), verdict("small", "wins"))
    finding = describe_finding(study(*verdicts, arms=arms))
    assert finding.headline == "At equal compute, one of two arms beats full training and one does worse."
    assert "Controls, which show where a gain comes from: small (−0.050; −0.070" in finding.found
    declared = describe_finding(study(*verdicts, arms=arms, primary="a"))
    assert declared.headline == "At equal compute, a does worse than full training."
    assert "the loss of a with" in declared.compute and "the loss of b" not in declared.compute


def test_few_tokens_per_parameter_stand_in_the_headline_and_no_outcome_is_emphasized():
    arms = (arm("a"), arm("small", is_control=True))
    for tokens, prefix in (
        (5.0, "At equal compute, with only 5.0 tokens per parameter, a"),
        (20, "At equal compute, a"),
    ):
        found = study(
            verdict("a", "wins"),
            verdict("small", "wins"),
            verdict("a", "wins", accounting="paper"),
            arms=arms,
            regime={"tokens_per_parameter": tokens},
        )
        assert describe_finding(found).headline == f"{prefix} beats full training."
        rows = {(row.arm, row.mark): (row.outcome, row.is_decisive) for row in make_rows(found)}
        assert rows["a", ""] == ("wins", tokens == 20) and rows["small", ""] == ("wins", False)
        assert rows["a", "the paper’s mark"] == ("", False)


def test_a_study_with_fewer_seeds_than_planned_has_no_finding_yet():
    arms = (arm("a"), arm("full") | {"seed": 1}, arm("a") | {"seed": 1})
    headline = describe_finding(study(arms=arms, seeds_planned=5)).headline
    assert headline == "There is no finding yet: five seeds are planned, and two of them done."
    added = describe_finding(study(arms=arms, seeds_planned=2, looks=[2], regime={"seeds": [0, 1, 2, 3]})).headline
    assert added == "There is no finding yet: seeds were added, and two of four seeds are done."


def test_an_unfinished_study_names_what_is_missing():
    assert "Only full has reached it." in describe_finding(study(arms=(arm("a") | {"marks": []},))).found
    partly = study(verdict("a", "wins"), arms=(arm("a"), arm("b"), arm("c")))
    assert "Not compared yet: b and c." in describe_finding(partly).limits


@pytest.mark.parametrize(
    ("share", "progress"),
    [
        (None, ""),
        (1, ""),
        (0.999, "This study is unfinished: 99 % of its compute is trained."),
        (0.001, "This study is unfinished: less than 1 % of its compute is trained."),
    ],
)
def test_the_progress_of_an_unfinished_study_is_described(share: float | None, progress: str):
    assert describe_finding(study(trained_share=share)).progress == progress


def test_what_cannot_be_told_says_what_it_excludes():
    one = describe_finding(study(verdict("a", "cannot tell", multiplier_interval=[0.9, 1.12]))).found
    assert (
        "the interval of the difference includes zero. It excludes gains above 0.019 nats (1.12 times the "
        "compute) and losses above 0.021."
    ) in one
    cut = verdict("a", "cannot tell", multiplier_interval=[0.9, 1.4], multiplier_interval_bounds=[None, "above"])
    assert "gains above 0.019 nats and losses" in describe_finding(study(cut)).found
    two = find("cannot tell", "cannot tell").found
    assert "the intervals of the differences include zero. They exclude gains above 0.019" in two
    without = describe_finding(study(verdict("a", "cannot tell", interval=None))).found
    assert "without an interval a difference cannot be distinguished from chance." in without
