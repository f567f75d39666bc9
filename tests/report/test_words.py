"""What the page claims in sentences, for verdicts that are written down here."""

from typing import Any

import pytest

from deepen.report.introduction import describe_comparison
from deepen.report.rows import make_rows
from deepen.report.summary import StudySummary, summarize
from deepen.report.words import Finding, describe_finding
from deepen.study.results.schema import Results

DIFFERENCES = {"wins": -0.05, "loses": 0.05, "cannot tell": 0.001}


def arm(name: str, *, depth: int = 12, loss: float = 4.0, annealed: bool = True, is_control: bool = False) -> Any:
    place = {"tokens": 64, "step": 2, "flops": 1000, "seconds": 1.0, "val_loss": loss, "depth": depth}
    mark = place | {"accounting": "flops", "budget_share": 1.0, "annealed": annealed}
    return {"name": name, "recipe": "x", "seed": 0, "is_control": is_control, "curve": [place], "marks": [mark]}


def verdict(name: str, outcome: str, **more: Any) -> dict[str, Any]:
    difference = DIFFERENCES[outcome]
    return {
        "arm": name, "accounting": "flops", "n_seeds": 3, "loss": 4.0 + difference, "difference": difference,
        "interval": [difference - 0.02, difference + 0.02], "outcome": outcome, "compute_multiplier": 1.25,
    } | more  # fmt: skip


def study(*verdicts: dict[str, Any], arms: tuple[Any, ...] = (), **more: Any) -> StudySummary:
    regime = {"depth": 12, "parameters": 124e6, "baseline_tokens": 1e9, "data": {"name": "words"}}
    content = {"baseline": "full", "arms": [arm("full"), *arms], "verdicts": verdicts, "regime": regime} | more
    return summarize(Results.from_json(content))


def find(*outcomes: str) -> Finding:
    return describe_finding(study(*(verdict(f"arm {i}", outcome) for i, outcome in enumerate(outcomes))))


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


def test_what_was_found_names_arms_with_their_differences_and_intervals():
    found = find("wins", "loses", "cannot tell").found
    assert "lower than full training’s with arm 0 (−0.050, 95 % interval −0.070 to −0.030)" in found
    assert "It is higher with arm 1 (+0.050" in found and "For arm 2 (+0.001" in found
    assert "and one more arm" in find(*["wins"] * 4).found


def test_a_saving_is_computed_from_the_multiplier():
    assert "1.25 times what arm 0 spent to reach the same loss, a saving of 20 %" in find("wins").compute


@pytest.mark.parametrize(
    ("small_loses", "sentence"),
    [
        (True, ""),
        (False, "the small model alone does at least as well"),
        (None, "No small model was trained alone"),
    ],
)
def test_a_win_is_compared_with_a_smaller_model_alone(small_loses: bool | None, sentence: str):
    """Whether an arm is a smaller model is read from its depth, never from a name."""
    verdicts, arms = [verdict("grown", "wins")], [arm("grown")]
    if small_loses is not None:
        verdicts.append(verdict("shallow", "loses" if small_loses else "wins"))
        arms.append(arm("shallow", depth=6, is_control=True))
    found = " ".join(describe_finding(study(*verdicts, arms=tuple(arms))).limits)
    assert sentence in found and ("small model" in found) == bool(sentence)


def test_an_arm_that_grew_is_not_the_small_model_even_if_it_ends_shallower():
    """The released code of Li, Fung & Huang ends with 8 of 12 blocks in 8 stages."""
    grown = arm("grown", depth=8)
    grown["curve"].insert(0, grown["curve"][0] | {"tokens": 32, "depth": 2})
    limits = describe_finding(study(verdict("grown", "wins"), arms=(grown,))).limits
    assert any("No small model was trained alone" in limit for limit in limits)


def test_verdicts_at_other_budgets_are_a_sentence_of_their_own():
    later = [
        verdict("a", "loses", budget_share=1.27),
        verdict("b", "wins", budget_share=1.69),
        verdict("c", "cannot tell", budget_share=1.62),
    ]
    study_of_four = study(verdict("a", "wins", budget_share=1.0), *later)
    finding = describe_finding(study_of_four)
    assert finding.headline == "At equal compute, a beats full training."
    assert "Trained on and compared at 1.27 to 1.69 times the budget, b wins and a loses." in finding.compute
    rows = {(row.arm, row.mark, row.budget, row.note) for row in make_rows(study_of_four) if row.arm != "full"}
    assert ("a", "", "", "") in rows
    assert ("b", "other budgets", "1.69 ×", "at 1.69 × the budget") in rows
    assert "can be told apart" in describe_finding(study(later[2])).compute


def test_a_control_that_wins_is_not_a_gain_of_growing():
    assert not describe_finding(study(verdict("a", "wins"), arms=(arm("a", is_control=True),))).limits


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


def test_the_papers_mark_is_described_as_unequal_compute():
    paper = verdict("a", "wins", accounting="paper")
    marks = [*arm("a")["marks"], arm("a")["marks"][0] | {"accounting": "paper", "flops": 1100}]
    compute = describe_finding(study(verdict("a", "wins"), paper, arms=(arm("a") | {"marks": marks},))).compute
    assert (
        "By the paper’s own accounting a wins, but that mark is not equal in exact FLOPs (1.10 times the "
        "baseline’s at most)"
    ) in compute


@pytest.mark.parametrize(
    ("outcomes", "winners"),
    [
        (["loses"], "accounting arm 0 does not win, but"),
        (["loses", "cannot tell"], "accounting neither arm wins, but"),
        (["loses"] * 3, "accounting none of the three arms wins, but"),
        (["wins", "loses"], "accounting one of two arms wins, but"),
        (["wins", "wins", "loses"], "accounting two of three arms win, but"),
        (["wins"] * 2, "accounting both arms win, but"),
    ],
)
def test_winners_by_the_papers_accounting_are_counted(outcomes: list[str], winners: str):
    verdicts = [verdict(f"arm {i}", outcome, accounting="paper") for i, outcome in enumerate(outcomes)]
    assert winners in describe_finding(study(*verdicts)).compute


def test_several_arms_that_cannot_be_told_apart_have_several_intervals():
    assert "the interval of the difference includes zero" in find("cannot tell").found
    assert "the intervals of the differences include zero" in find("cannot tell", "cannot tell").found


@pytest.mark.parametrize(
    ("depth", "model"), [(4, "a 4-layer"), (8, "an 8-layer"), (11, "an 11-layer"), (80, "an 80-")]
)
def test_the_depth_of_the_model_has_its_article(depth: int, model: str):
    assert f"One way of training {model}" in describe_comparison(study(arms=(arm("a"),), regime={"depth": depth}))


@pytest.mark.parametrize(
    ("regime", "caveat"),
    [
        ({"tokens_per_parameter": 5}, "5.0 tokens per non-embedding parameter: well under 20"),
        ({"tokens_per_parameter": 20}, "near the 20 that is compute-optimal"),
        ({"tokens_per_parameter": 80}, "above the compute-optimal 20"),
        ({"parameters": 1e5}, "says little about a large one"),
        ({"parameters": 124e6}, "larger ones may behave differently"),
        ({"data": {"epochs": 2.5}}, "read its data 2.5 times"),
    ],
)
def test_caveats_follow_from_the_regime(regime: dict[str, Any], caveat: str):
    caveats = describe_finding(study(verdict("a", "wins"), regime=regime)).caveats
    assert any(caveat in each for each in caveats)


def test_caveats_follow_from_seeds_noise_and_decay():
    noise = {"baseline_seed_std": 0.0123}
    caveats = " ".join(describe_finding(study(verdict("a", "wins"), arms=(arm("a"),), noise=noise)).caveats)
    assert "Three seeds, which is few" in caveats and "0.0123 nats per token" in caveats
    assert "Every point compared ends a run whose learning rate was fully decayed." in caveats
    undecayed = study(verdict("a", "wins", n_seeds=1), arms=(arm("a", annealed=False),))
    caveats = " ".join(describe_finding(undecayed).caveats)
    assert "One seed: there is no interval" in caveats
    assert "Not every point of a has a fully decayed learning rate" in caveats


def test_the_comparison_names_arms_model_and_data():
    assert describe_comparison(study(arms=(arm("a"), arm("b")))) == (
        "Two ways of training a 12-layer model of 124 M parameters, against ordinary full training on 1.00 B "
        "tokens of words, at equal compute."
    )
    unknown = study(verdict("a", "wins"), regime={})
    assert describe_comparison(unknown).startswith("Training one model, against ordinary full training,")


def test_arms_with_a_rate_of_their_own_are_named_with_it():
    own = arm("mine") | {"rate": "cosine", "peak_lr": 0.02, "has_own_rate": True}
    described = study(verdict("mine", "wins"), arms=(own, arm("other")))
    assert [each.own_rate for each in described.arms] == ["", "cosine, peak 0.02", ""]
    caveats = " ".join(describe_finding(described).caveats)
    assert "mine (cosine, peak 0.02) has a learning rate of its own: the comparison is fair only if" in caveats
    assert not any("rate of its own" in caveat for caveat in find("wins").caveats)
    [row] = [row for row in make_rows(described) if row.arm == "mine"]
    assert row.note == "rate: cosine, peak 0.02"


def test_an_arm_that_grew_after_the_decay_had_begun_is_named():
    growths = [{"tokens": 8, "depth_before": 1, "depth_after": 2, "decayed_to": share} for share in (None, 0.25)]
    late, early = arm("late") | {"growths": growths}, arm("early") | {"growths": growths[:1]}
    caveats = " ".join(describe_finding(study(verdict("late", "loses"), arms=(late, early))).caveats)
    assert "late grew when its learning rate had decayed to 25 % of its peak: new blocks then learn" in caveats
    assert "early grew" not in caveats
