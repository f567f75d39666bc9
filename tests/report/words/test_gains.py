"""Whether a gain comes from growing, in sentences."""

import pytest

from deepen.report.words.finding import describe_finding
from written_verdicts import arm, study, verdict


@pytest.mark.parametrize(
    ("small", "half_width", "sentence"),
    [
        (0.05, 0.02, "The small model alone does worse than grown (+0.100, 95 % interval +0.080 to +0.120), so"),
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
    assert sentence in found


@pytest.mark.parametrize("winners", [0, 1])
@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (
            "loses",
            "Full depth pays at this budget: full training beats the small model alone, shallow (+0.050, 95 % "
            "interval +0.030 to +0.070).",
        ),
        (
            "wins",
            "Full depth does not pay at this budget: the small model alone, shallow (−0.050, 95 % interval −0.070 "
            "to −0.030), beats full training.",
        ),
        ("cannot tell", "Whether full depth pays at this budget is open: full training cannot be told from the"),
    ],
)
def test_a_small_model_alone_shows_whether_full_depth_pays(outcome: str, sentence: str, winners: int):
    verdicts = [verdict("grown", "wins" if winners else "loses"), verdict("shallow", outcome)]
    arms = (arm("grown"), arm("shallow", depth=6, is_control=True))
    limits = describe_finding(study(*verdicts, arms=arms, noise={"arm_half_width": 0.02})).limits
    assert limits[0].startswith(sentence)
    assert len([limit for limit in limits if "mall model alone" in limit]) == 1 + winners


@pytest.mark.parametrize(
    ("against_full", "against_depth", "headline", "limit"),
    [
        (
            ("wins", "wins"),
            ("wins", "cannot tell"),
            "both arms beat full training. One of them beats the best fixed depth, depth 6, too.",
            "Growing pays with arm 0 (−0.050, 95 % interval −0.070 to −0.030): it beats both full training and "
            "the best fixed depth, depth 6.",
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


def test_growing_is_not_said_to_pay_where_another_constant_depth_is_not_beaten():
    """Trials chose depth 6, and two blocks turned out to be as good as growing."""
    names, unbeaten = ["arm 0", "arm 1"], (["shallow"], [])

    def find(count: int):
        first = [verdict(names[i], "wins", depths_not_beaten=unbeaten[i]) for i in range(count)]
        return describe_finding(
            study(
                *first,
                arms=(*map(arm, names[:count]), arm("depth 6", depth=6), arm("shallow", depth=2, is_control=True)),
                depth_verdicts=[verdict(name, "wins", baseline="depth 6") for name in names[:count]],
                best_fixed_depth="depth 6",
            )
        )

    one, both = find(1), find(2)
    assert one.headline.endswith(
        "It beats the best fixed depth, depth 6, too, but not every other constant depth."
    )
    assert "Growing is not shown to pay: arm 0" in one.limits[0] and "but not shallow, which" in one.limits[0]
    assert both.headline.endswith(
        "One of them beats the best fixed depth, depth 6 and every other constant depth, too."
    )
    assert both.limits[0].startswith("Growing pays with arm 1 (")


def test_growing_pays_with_reservations_where_the_rate_of_a_beaten_depth_is_at_the_edge():
    wins = verdict("arm 0", "wins", depths_beaten=["full", "shallow"], depths_at_edge=["shallow"])
    finding = describe_finding(
        study(
            wins,
            arms=(arm("arm 0"), arm("depth 6", depth=6), arm("shallow", depth=2, is_control=True)),
            depth_verdicts=[verdict("arm 0", "wins", baseline="depth 6")],
            best_fixed_depth="depth 6",
        )
    )
    assert finding.limits[0].startswith("Growing pays with arm 0 (")
    assert finding.limits[1] == (
        "The rate of shallow is at the edge of those tried, so that a better one may lie outside."
    )


@pytest.mark.parametrize(
    ("unbeaten", "headline", "limit"),
    [
        (
            [[], []],
            "Those two beat every other constant depth, too.",
            "Growing pays with arm 0 (−0.050, 95 % interval −0.070 to −0.030) and arm 1 (−0.050, 95 % interval "
            "−0.070 to −0.030): they beat every constant depth, of which full training is the best in trials.",
        ),
        ([[], ["shallow"]], "One of them beats every other constant depth, too.", "Growing pays with arm 0 ("),
        (
            [["shallow"], ["shallow"]],
            "None of them is shown to beat every other constant depth.",
            "Growing is not shown to pay: arm 0 (−0.050, 95 % interval −0.070 to −0.030) beats full training, the "
            "best fixed depth, but not shallow, which may be better at this budget.",
        ),
    ],
)
def test_where_full_depth_is_the_best_of_the_trials_other_depths_count_too(
    unbeaten: list[list[str]], headline: str, limit: str
):
    names = ["arm 0", "arm 1"]
    depths = [
        {"depths_beaten": sorted({"full", "shallow"} - {*each}), "depths_not_beaten": each} for each in unbeaten
    ]
    open_one = verdict("arm 2", "cannot tell", depths_not_beaten=["full", "shallow"])
    found = describe_finding(
        study(
            *(verdict(name, "wins", baseline="full", **each) for name, each in zip(names, depths, strict=True)),
            open_one,
            verdict("shallow", "loses"),
            arms=(*map(arm, [*names, "arm 2"]), arm("shallow", depth=6, is_control=True)),
            best_fixed_depth="full",
        )
    )
    assert found.headline.endswith(headline)
    assert found.limits[0].startswith("Full depth pays at this budget") and found.limits[1].startswith(limit)


def test_an_arm_that_grew_is_not_the_small_model_even_if_it_ends_shallower():
    """The released code of Li, Fung & Huang ends with 8 of 12 blocks in 8 stages."""
    grown = arm("grown", depth=8)
    grown["curve"].insert(0, grown["curve"][0] | {"tokens": 32, "depth": 2})
    limits = describe_finding(study(verdict("grown", "wins"), arms=(grown,))).limits
    assert any("No small model was trained alone" in limit for limit in limits)


def test_a_control_that_wins_is_not_a_gain_of_growing():
    assert not describe_finding(study(verdict("a", "wins"), arms=(arm("a", is_control=True),))).limits
