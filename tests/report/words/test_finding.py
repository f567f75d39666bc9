"""What the page claims in sentences, for verdicts that are written down here."""

from typing import Any

import pytest

from deepen.report.page.rows import make_rows
from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.report.words.finding import Finding, describe_finding
from deepen.report.words.introduction import describe_comparison
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
    assert "lower than full training’s with arm 0 (−0.050; −0.070 to −0.030)" in found
    assert "It is higher with arm 1 (+0.050" in found and "For arm 2 (+0.001" in found
    assert found.endswith(
        "In brackets: the difference in nats per token, arm minus full training, and its 95 % interval; "
        "lower is better."
    )
    assert "and one more arm" in find(*["wins"] * 4).found


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


@pytest.mark.parametrize(
    ("small", "half_width", "sentence"),
    [
        (0.05, 0.02, ""),
        (
            -0.049,
            0.02,
            "The small model alone cannot be told from grown (+0.0010, 95 % interval −0.0190 to +0.0210)",
        ),
        (
            -0.10,
            0.02,
            "But the small model alone does better still than grown (−0.050, 95 % interval −0.070 to −0.030)",
        ),
        (-0.10, None, "The small model alone cannot be told from grown (−0.050), so the gain may be one of size"),
        (None, 0.02, "No small model was trained alone"),
    ],
)
def test_a_win_is_compared_with_a_smaller_model_alone(
    small: float | None, half_width: float | None, sentence: str
):
    """With the interval between two arms. Whether an arm is a smaller model is read from its depth."""
    verdicts, arms = [verdict("grown", "wins")], [arm("grown")]
    if small is not None:
        verdicts.append(verdict("shallow", "wins", difference=small))
        arms.append(arm("shallow", depth=6, is_control=True))
    noise = {"arm_half_width": half_width}
    found = " ".join(describe_finding(study(*verdicts, arms=tuple(arms), noise=noise)).limits)
    assert sentence in found and ("small model" in found) == bool(sentence)


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

    assert "small model" not in limits(1), "0.025 is outside ±0.020"
    assert "cannot be told from best (+0.025, 95 % interval −0.004 to +0.054)" in limits(3)


@pytest.mark.parametrize(
    ("against_full", "against_depth", "headline", "limit"),
    [
        (
            ("wins", "wins"),
            ("wins", "cannot tell"),
            "both arms beat full training. One of them beats the best fixed depth, depth 6, too.",
            "Growing pays with arm 0 (−0.050, 95 % interval −0.070 to −0.030): it beats the best fixed depth, ",
        ),
        (
            ("wins",),
            ("wins",),
            "arm 0 beats full training. It beats the best fixed depth, depth 6, too.",
            "Growing pays with arm 0",
        ),
        (
            ("wins", "wins"),
            ("loses", "cannot tell"),
            "both arms beat full training. None of them is shown to beat the best fixed depth, depth 6.",
            "Growing is not shown to pay: no arm beats both full training and the best fixed depth, depth 6. The "
            "nearest to depth 6 is arm 1 (+0.0010",
        ),
        (("loses",), ("wins",), "arm 0 does worse than full training.", "Growing is not shown to pay"),
        (
            ("wins", "wins"),
            ("loses", "loses"),
            "both arms beat full training. Both do worse than the best fixed depth, depth 6.",
            "Growing does not pay here: every arm does worse than the best fixed depth, depth 6. The nearest",
        ),
        (
            ("cannot tell",),
            ("loses",),
            "arm 0 cannot be told apart from full training. It does worse than the best fixed depth, depth 6.",
            "Growing does not pay here: arm 0 (+0.050, 95 % interval +0.030 to +0.070) does worse than the best",
        ),
    ],
)
def test_growing_is_said_to_pay_only_where_it_beats_both_baselines(
    against_full: tuple[str, ...], against_depth: tuple[str, ...], headline: str, limit: str
):
    names = [f"arm {i}" for i in range(len(against_full))]
    both = study(
        *map(verdict, names, against_full),
        arms=(*map(arm, names), arm("depth 6", depth=6, is_control=True)),
        depth_verdicts=[verdict(*each, baseline="depth 6") for each in zip(names, against_depth, strict=True)],
        best_fixed_depth="depth 6",
    )
    finding = describe_finding(both)
    assert finding.headline == f"At equal compute, {headline}"
    assert limit in finding.limits[0] and "small model" not in " ".join(finding.limits)


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
    assert "At other budgets, b wins at 1.69 times the study’s and a loses at 1.27 times the" in finding.compute
    rows = {(row.arm, row.mark, row.budget, row.note) for row in make_rows(study_of_four) if row.arm != "full"}
    assert ("a", "", "", "") in rows
    assert ("b", "other budgets", "1.69 ×", "at 1.69 × the budget") in rows
    assert "At 1.62 times the budget, no arm can be told apart" in describe_finding(study(later[2])).compute
    alone = verdict("small", "wins", budget_share=1.4)
    at_anchors = study(*later, alone, arms=(arm("small", is_control=True),))
    assert "small" not in [row.arm for row in make_rows(at_anchors)], "only a control has this budget"
    few = study(verdict("a", "wins"), verdict("a", "wins", budget_share=0.5), regime={"tokens_per_parameter": 20})
    assert {row.budget: row.is_decisive for row in make_rows(few) if row.arm == "a"} == {"": True, "0.50 ×": False}


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
        "At the paper’s own marks, which are not equal in exact FLOPs (1.10 times the baseline’s at most) and "
        "decide nothing, the difference is −0.050."
    ) in compute


def test_nothing_wins_or_loses_at_the_papers_marks():
    verdicts = [verdict(f"arm {i}", outcome, accounting="paper") for i, outcome in enumerate(["wins", "loses"])]
    compute = describe_finding(study(*verdicts)).compute
    assert "the differences are −0.050 to +0.050." in compute and "win" not in compute


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


@pytest.mark.parametrize(
    ("depth", "model"), [(4, "a 4-layer"), (8, "an 8-layer"), (11, "an 11-layer"), (80, "an 80-")]
)
def test_the_depth_of_the_model_has_its_article(depth: int, model: str):
    assert f"full training of {model}" in describe_comparison(study(arms=(arm("a"),), regime={"depth": depth}))


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
    noise = {"critical_value": 4.0, "detectable_multiplier": 1.09, "seeds": 3}
    caveats = " ".join(describe_finding(study(verdict("a", "wins"), arms=(arm("a"),), noise=noise)).caveats)
    assert "Three seeds, which is few, compared seed by seed: take the verdicts as exploratory." in caveats
    assert "Three seeds could tell a multiplier of 1.09 or more, with probability 0.8." in caveats
    assert "earlier deepen" not in caveats and "earlier deepen" in " ".join(find("wins").caveats)
    assert "Every point compared ends a run whose learning rate was fully decayed." in caveats
    large = study(verdict("a", "wins"), noise=noise | {"detectable_multiplier": 20.2})
    assert "Three seeds could not tell even a multiplier of 5 here." in describe_finding(large).caveats
    undecayed = study(verdict("a", "wins", n_seeds=1), arms=(arm("a", annealed=False),))
    caveats = " ".join(describe_finding(undecayed).caveats)
    assert "One seed: there is no interval" in caveats
    assert "Not every point of a has a fully decayed learning rate" in caveats


def test_the_comparison_names_arms_model_and_data():
    assert describe_comparison(study(arms=(arm("a"), arm("b")))) == (
        "Two ways to use the compute of ordinary full training of a 12-layer model of 124 M parameters on 1.00 B "
        "tokens of words."
    )
    unknown = study(verdict("a", "wins"), regime={})
    assert describe_comparison(unknown) == "Ordinary full training of one model."


def test_arms_with_a_rate_of_their_own_are_named_with_it():
    own = arm("mine") | {"rate": "cosine", "peak_lr": 0.02, "has_own_rate": True}
    described = study(verdict("mine", "wins"), arms=(own, arm("other")))
    assert [each.own_rate for each in described.arms] == ["", "cosine, peak 0.02", ""]
    caveats = " ".join(describe_finding(described).caveats)
    assert "mine (cosine, peak 0.02) has a learning rate of its own: the comparison is fair only if" in caveats
    assert not any("rate of its own" in caveat for caveat in find("wins").caveats)
    tuned = study(verdict("mine", "wins"), arms=(own,), tuning={"arms": [{"name": "full"}, {"name": "mine"}]})
    assert not any("rate of its own" in caveat for caveat in describe_finding(tuned).caveats)
    [row] = [row for row in make_rows(described) if row.arm == "mine"]
    assert row.note == "rate: cosine, peak 0.02"


def test_an_arm_that_grew_after_the_decay_had_begun_is_named():
    growths = [{"tokens": 8, "depth_before": 1, "depth_after": 2, "decayed_to": share} for share in (None, 0.25)]
    late, early = arm("late") | {"growths": growths}, arm("early") | {"growths": growths[:1]}
    caveats = " ".join(describe_finding(study(verdict("late", "loses"), arms=(late, early))).caveats)
    assert "late grew when its learning rate had decayed to 25 % of its peak: new blocks then learn" in caveats
    assert "early grew" not in caveats
