"""Verdicts on studies that are not the usual one: few seeds, one arm, one budget, other budgets, flagged rates."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from benchmarks.verdict_coverage import MIXED, SLOPE, Scenario

from deepen.errors import InvalidValueError
from deepen.study.judge.verdicts import joint_confidence, judge, with_verdicts
from deepen.study.results.schema import NO_NOISE, Outcome, Results, Verdict

Arms = list[dict[str, Any]]


def study(seeds: int = 3, **scenario: Any) -> Arms:
    return Scenario(**({"multipliers": MIXED} | scenario)).draw(np.random.default_rng(0), seeds)


def marks(arms: Arms, name: str) -> list[dict[str, Any]]:
    return [mark for arm in arms if arm["name"] == name for mark in arm["marks"]]


def judged(arms: Arms, **options: Any) -> dict[str, Verdict]:
    return {verdict.arm: verdict for verdict in judge(arms, "full", **options)[0]}


def width(verdict: Verdict) -> float:
    assert verdict.interval is not None
    return verdict.interval[1] - verdict.interval[0]


def test_the_noise_describes_the_study():
    _, noise = judge(study(8, baseline=3), "full")
    assert (noise.arms, noise.seeds, noise.budgets, noise.arms_df, noise.baseline_df) == (6, 8, 3, 35, 14)
    assert noise.arms_std == pytest.approx(0.0024, rel=0.3)
    assert noise.baseline_std == pytest.approx(0.0072, rel=0.5)
    assert noise.slope == pytest.approx(SLOPE, rel=0.15) and (noise.unequal_p or 1) < 0.01
    assert noise.half_width == pytest.approx((noise.critical_value or 0) * (noise.stderr or 0))


def test_a_verdict_has_the_difference_of_each_seed_and_its_own_interval():
    verdict = judged(study())["arm 0"]
    assert verdict.baseline == "full" and verdict.seeds == (0, 1, 2)
    assert verdict.difference == pytest.approx(sum(verdict.differences) / 3)
    assert verdict.interval_alone is not None and verdict.interval is not None
    assert verdict.interval[0] < verdict.interval_alone[0] < verdict.interval_alone[1] < verdict.interval[1]


def test_one_arm_is_judged_from_its_own_differences_and_the_baselines_noise():
    arms = study(multipliers=(1.1,))
    verdict, noise = judged(arms)["arm 0"], judge(arms, "full")[1]
    assert noise.arms_df == 0 and noise.arms_std is None and noise.arm_half_width is None
    assert verdict.interval == pytest.approx(verdict.interval_alone)


def test_one_budget_has_no_multiplier_and_wants_three_seeds():
    found = judged(study(2, budgets=(1.0,)))
    assert all(v.compute_multiplier is None and "several budgets" in v.multiplier_withheld for v in found.values())
    assert width(judged(study(3, budgets=(1.0,)))["arm 0"]) < width(found["arm 0"]) / 4


def test_one_seed_has_differences_and_no_intervals():
    found = judged(study(1))
    assert all(v.interval is None and v.stderr is None for v in found.values())
    assert found["arm 2"].compute_multiplier == pytest.approx(1.1, abs=0.05)
    assert judge(study(1), "full")[1] == NO_NOISE


def test_more_looks_take_wider_intervals():
    once, first, second = (
        judged(study(), look=look, looks=looks)["arm 0"] for look, looks in ((1, 1), (1, 2), (2, 2))
    )
    assert width(once) < width(first) < width(second) and second.confidence == pytest.approx(0.9875)
    misses = sum(1 - joint_confidence(look, 50) for look in range(1, 51))
    assert misses == pytest.approx(0.05)
    with pytest.raises(InvalidValueError, match="from 1 to"):
        judge(study(), "full", look=3, looks=2)


@pytest.mark.parametrize("look", [10, 30, 40, 100])
def test_a_late_look_is_wide_and_wins_nothing(look: int):
    before, found = (judged(study(), look=each, looks=100) for each in (look - 1, look))
    assert all(width(found[arm]) >= width(before[arm]) > 0.02 for arm in found)


def test_the_look_follows_from_the_seeds():
    results = Results.from_json({"baseline": "full", "arms": study(4)})
    for looks, confidence in (((), 0.95), ((4,), 0.95), ((2,), 0.9875), ((2, 4), 0.9875)):
        assert with_verdicts(replace(results, looks=looks)).noise.confidence == pytest.approx(confidence)


def test_arms_are_also_compared_with_the_best_fixed_depth():
    results = Results.from_json({"baseline": "full", "arms": study(), "best_fixed_depth": "arm 3"})
    found = with_verdicts(results)
    assert (found.depth_verdicts, found.depth_noise) == judge(study(), "arm 3")
    assert {v.arm for v in found.depth_verdicts} == {"full", "arm 0", "arm 1", "arm 2", "arm 4", "arm 5"}
    assert {v.baseline for v in found.depth_verdicts} == {"arm 3"}
    assert with_verdicts(replace(results, best_fixed_depth="full")).depth_verdicts == ()


@pytest.mark.parametrize("name", ["arm 2", "full"])
def test_a_rate_at_the_edge_of_the_grid_withholds_the_multiplier(name: str):
    arms = [arm | {"rate_at_edge": arm["name"] == name} for arm in study()]
    withheld = {verdict.arm for verdict in judged(arms).values() if "edge" in verdict.multiplier_withheld}
    assert withheld == ({"arm 2"} if name == "arm 2" else {f"arm {nth}" for nth in range(6)})
    assert judged(arms)["arm 2"].compute_multiplier is judged(arms)["arm 2"].multiplier_interval is None


def test_an_arm_that_wins_beyond_the_budgets_gets_a_lower_bound():
    clear = judged(study(multipliers=(*MIXED[:5], 1.6)))["arm 5"]
    assert "the baseline would reach that loss with more than 1.40 times the compute (95 %)" in clear.sentence
    close = judged(study(baseline=4, multipliers=(*MIXED[:5], 1.6)))["arm 5"]
    assert close.multiplier_interval is not None and close.compute_multiplier == close.multiplier_interval[0] < 1.4
    assert f"that loss with at least {close.compute_multiplier:.2f} times the compute (95 %)" in close.sentence


def test_a_verdict_that_cannot_tell_says_what_it_excludes():
    verdict = judged(study(baseline=3))["arm 0"]
    assert verdict.outcome is Outcome.CANNOT_TELL and verdict.interval is not None
    low, high = verdict.interval
    assert f"this excludes gains above {-low:.3f} nats" in verdict.sentence
    assert verdict.sentence.endswith(f"losses above {high:.3f} nats.")


@pytest.mark.parametrize("budget", [1 - 1e-16, 1 + 2.3e-16, 1 + 1e-9, 1e-300])
@pytest.mark.filterwarnings("error")
def test_budgets_that_are_nearly_equal_or_absurdly_small_have_no_multiplier(budget: float):
    arms = study(budgets=(0.7, 1.0))
    for mark in marks(arms, "full"):
        if mark["budget_share"] != 1.0:
            mark |= {"budget_share": budget, "flops": budget * 1e15}
    found, noise = judge(arms, "full")
    assert all("several budgets" in verdict.multiplier_withheld for verdict in found) and noise.slope is None


def test_the_mark_of_a_paper_has_no_outcome():
    arms = study()
    for mark in marks(arms, "arm 4"):
        mark |= {"accounting": "paper", "flops": 1.04e15}
    verdict = judged(arms)["arm 4"]
    assert verdict.outcome is None and verdict.interval is not None
    assert verdict.sentence.startswith("arm 4 at the paper's own mark (+4.0 % exact FLOPs): its loss is")
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


def test_a_baseline_whose_seeds_end_at_different_flops_is_one_curve():
    """A baseline that grows on a plateau does: the step at which it reaches its budget differs by seed."""
    arms = study()
    before = judged(arms)["arm 2"]
    for arm in arms:
        for mark in arm["marks"] if arm["name"] == "full" else ():
            mark["flops"] *= 1 + 0.004 * arm["seed"]
    after = judged(arms)["arm 2"]
    assert after.interval == before.interval
    assert after.compute_multiplier == pytest.approx(before.compute_multiplier)


def test_another_budget_at_which_all_arms_are_measured_has_its_own_noise():
    arms = study(5)
    for arm in arms:
        if arm["name"] != "full":
            noise = 0.02 * (-1) ** (arm["seed"] + int(arm["name"][-1]))
            [mark] = arm["marks"]
            arm["marks"].append(mark | {"budget_share": 0.7000001, "val_loss": mark["val_loss"] + noise})
    verdicts, noise = judge(arms, "full")
    by_share = {v.budget_share: v for v in verdicts if v.arm == "arm 2"}
    assert width(by_share[0.7000001]) > 3 * width(by_share[1.0])
    assert noise == judge(study(5), "full")[1]


def test_the_validation_text_widens_the_interval():
    arms = study(5)
    draw = np.random.default_rng(1)
    hard = draw.normal(0, 1, 64)
    for arm in arms:
        for mark in arm["marks"]:
            mark["val_blocks"] = list(mark["val_loss"] + hard + draw.normal(0, 0.1, 64))
    with_text, without = judged(arms)["arm 2"], judged(study(5))["arm 2"]
    assert width(with_text) > 2 * width(without)
    noise = judge(arms, "full")[1]
    assert noise.text_std == pytest.approx(0.1 * (2 / 5 / 64) ** 0.5, rel=0.2)


def test_the_multiplier_in_seconds_is_scaled_by_the_seconds_of_a_flop():
    arms = study()
    for arm in arms:
        for mark in arm["marks"]:
            mark["steady_seconds"] = mark["flops"] * (1.25e-15 if arm["name"] == "arm 2" else 1e-15)
    verdict = judged(arms)["arm 2"]
    assert verdict.compute_multiplier is not None and verdict.multiplier_interval is not None
    assert verdict.seconds_multiplier == pytest.approx(verdict.compute_multiplier / 1.25)
    scaled = tuple(end / 1.25 for end in verdict.multiplier_interval)
    assert verdict.seconds_multiplier_interval == pytest.approx(scaled)
    assert judged(study())["arm 2"].seconds_multiplier is None


def test_tasks_are_corrected_for_all_arms_and_tasks():
    arms = study()
    for arm in arms:
        right = {"arm 4": "1" * 20 + "0" * 20, "full": "0" * 20 + "01" * 10}.get(arm["name"], "01" * 20)
        for mark in arm["marks"]:
            mark["tasks"] = {"hellaswag": {"correct": right}}
    tests = {name: verdict.task_tests["hellaswag"] for name, verdict in judged(arms).items()}
    assert all(test.p is not None and test.p_holm is not None for test in tests.values())
    assert tests["arm 4"].p == pytest.approx(min(1.0, 6 * (tests["arm 4"].p or 0)) / 6, rel=1e-6)
    assert all((test.p_holm or 0) >= (test.p or 0) for test in tests.values())


def test_marks_without_flops_have_no_multiplier():
    arms = study()
    for arm in arms:
        for mark in arm["marks"]:
            del mark["flops"]
    found = judged(arms)
    assert all("several budgets" in verdict.multiplier_withheld for verdict in found.values())
    assert found["arm 4"].interval == judged(study())["arm 4"].interval


def test_runs_without_any_noise_are_judged():
    arms = study()
    for arm in arms:
        for mark in arm["marks"]:
            mark["val_loss"] = 4.0 - mark["budget_share"] - 0.1 * (arm["name"] == "arm 1")
    found, noise = judged(arms), judge(arms, "full")[1]
    assert found["arm 1"].outcome is Outcome.WINS and found["arm 2"].outcome is Outcome.CANNOT_TELL
    assert noise.detectable_multiplier is None or noise.detectable_multiplier == pytest.approx(1.0)
