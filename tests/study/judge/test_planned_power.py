"""What a study could detect with so many seeds, before it is run."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from deepen.schedule.rate import Cosine
from deepen.study.compile.study_plan import plan_study
from deepen.study.define.presets import quickstart
from deepen.study.define.study import Study
from deepen.study.judge.planned_power import PlannedPower, plan_power
from deepen.study.judge.power import expected_noise
from deepen.study.results.schema import Results


def measured(looks: tuple[int, ...] = (2,), **spreads: float) -> Results:
    """Results of a study with verdicts and these spreads."""
    noise = expected_noise(arms=6, seeds=looks[-1], slope=0.22, **spreads)
    verdict = {"arm": "small", "n_seeds": looks[-1], "interval": [-0.1, 0.1]}
    content = {"arms": [], "verdicts": [verdict], "noise": noise.to_json(), "looks": list(looks)}
    return Results.from_json(content | {"seeds_planned": looks[0]})


def multipliers(power: PlannedPower) -> dict[int, float]:
    return {each.seeds: each.multiplier for each in power.detectable if each.multiplier is not None}


def test_more_seeds_detect_less_and_a_noisy_baseline_takes_more_of_them():
    quiet, noisy = map(multipliers, plan_power(plan_study(quickstart()), None))
    for by_seeds in (quiet, noisy):
        assert list(by_seeds) == [2, 3, 5, 8]
        assert list(by_seeds.values()) == sorted(by_seeds.values(), reverse=True) and min(by_seeds.values()) > 1
    assert all(noisy[seeds] > quiet[seeds] for seeds in quiet)


def test_the_power_is_that_of_the_simulations():
    """Six arms, slope 0.22: the table of docs/statistics.md."""
    [power] = plan_power(plan_study(quickstart()), measured((3,), arms_std=0.0024, baseline_std=0.0072))
    found = multipliers(power)
    assert found[2] == pytest.approx(1.17, abs=0.01)
    assert found[3] == pytest.approx(1.09, abs=0.01)


def test_a_further_look_needs_more():
    study = replace(quickstart(), seeds=(0, 1, 2, 3, 4))
    spreads = {"arms_std": 0.0024, "baseline_std": 0.0072}
    [once] = plan_power(plan_study(study), measured(looks=(5,), **spreads))
    [again] = plan_power(plan_study(study), measured(looks=(2,), **spreads))
    assert [each.confidence for each in once.detectable] == pytest.approx([0.95, 0.95, 0.95, 0.9875])
    assert [each.confidence for each in again.detectable] == pytest.approx([0.95, 0.9875, 0.9875, 0.9875])
    assert multipliers(again)[5] > multipliers(once)[5]


def test_without_other_budgets_there_is_a_width_but_no_multiplier():
    study = replace(quickstart(), rate=Cosine(peak=8e-3))
    for power in plan_power(plan_study(study), None):
        assert all(each.multiplier is None and each.half_width > 0 for each in power.detectable)


def test_a_study_without_comparison_detects_nothing(make_study: Callable[..., Study]):
    study = make_study()
    alone = replace(study, arms=study.arms[:1])
    assert plan_power(plan_study(alone), None) == ()
