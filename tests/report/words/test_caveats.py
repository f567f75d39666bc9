"""How far to trust a finding, in sentences."""

from typing import Any

import pytest

from deepen.report.page.rows import make_rows
from deepen.report.words.finding import describe_finding
from written_verdicts import arm, find, study, verdict


@pytest.mark.parametrize(
    ("regime", "caveat"),
    [
        ({"tokens_per_parameter": 5}, "5.0 tokens per non-embedding parameter: well under 20"),
        ({"tokens_per_parameter": 20}, "near the 20 that is compute-optimal"),
        ({"tokens_per_parameter": 80}, "above the 20 that is compute-optimal"),
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
