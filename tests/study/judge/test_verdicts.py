"""Verdicts on results that are defined here, so that the numbers can be checked by hand."""

import json
from typing import Any

import numpy as np
import pytest

from deepen.errors import InvalidValueError
from deepen.study.judge.verdicts import judge, with_verdicts
from deepen.study.results.schema import NO_NOISE, ArmResult, Bound, Outcome, Results

BASELINE = {0.7: 4.2, 1.0: 4.0, 1.4: 3.8}
"""The baseline's loss at shares of its budget."""


def mark(loss: float, share: float = 1.0, accounting: str = "flops", correct: str = "0011") -> dict[str, Any]:
    tasks = {"hellaswag": {"value": 0.5, "n": 4, "stderr": 0.25, "correct": correct}}
    return {
        "accounting": accounting, "budget_share": share, "budget_flops": 1000 * share, "tokens": 640, "step": 10,
        "flops": 1000 * share, "seconds": 2.0, "val_loss": loss, "train_loss": loss, "annealed": True,
        "tasks": tasks,
    }  # fmt: skip


def arm(name: str, seed: int, *marks: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "recipe": name,
        "seed": seed,
        "curve": [],
        "marks": marks,
        "peak_memory_bytes": 10 + seed,
    }


def comparison(*, seeds: int = 2, one_shot: float = 3.9, small: float = 4.3) -> list[dict[str, Any]]:
    """A baseline, an arm that is better and one that is worse; seeds differ by 0.02, arms by a little noise."""
    arms = []
    for seed in range(seeds):
        effect = 0.02 * seed
        arms += [
            arm("full", seed, *(mark(loss + effect, share) for share, loss in BASELINE.items())),
            arm("one-shot", seed, mark(one_shot + effect + 0.002 * seed, correct="0111")),
            arm("small", seed, mark(small + effect)),
        ]
    return arms


def test_an_arm_that_is_better_by_more_than_the_noise_wins():
    verdicts, noise = judge(comparison(), "full")
    wins, loses = verdicts
    assert (wins.arm, wins.outcome, loses.arm, loses.outcome) == ("one-shot", Outcome.WINS, "small", Outcome.LOSES)
    assert wins.difference == pytest.approx(-0.099) and wins.n_seeds == 2
    assert wins.interval is not None and wins.interval[0] < wins.difference < wins.interval[1] < 0
    assert noise.degrees_of_freedom == pytest.approx(2) and (noise.arms, noise.seeds, noise.budgets) == (2, 2, 3)
    assert noise.baseline_std == pytest.approx(0.0, abs=1e-9) and noise.arms_std == pytest.approx(0.001)
    assert wins.sentence.startswith(
        "one-shot wins at equal exact FLOPs: its loss is 0.099 nats below the baseline"
    )
    assert (wins.seconds, wins.peak_memory_bytes, wins.tokens) == (2.0, 11, 640)


def test_the_multiplier_is_read_from_the_budgets_of_the_baseline():
    [wins, loses] = judge(comparison(one_shot=3.8), "full")[0]
    assert wins.compute_multiplier == pytest.approx(1.4, abs=0.01)
    assert (loses.compute_multiplier, loses.multiplier_bound) == (pytest.approx(0.7), Bound.BELOW)
    beyond = judge(comparison(one_shot=3.5), "full")[0][0]
    assert beyond.multiplier_bound is Bound.ABOVE and "more than 1.40 times" in beyond.sentence


def test_within_the_noise_the_outcome_is_cannot_tell():
    [unclear, _] = judge(comparison(one_shot=3.999), "full")[0]
    assert unclear.outcome is Outcome.CANNOT_TELL and "cannot tell" in unclear.sentence


def test_one_seed_gives_no_interval():
    verdicts, noise = judge(comparison(seeds=1), "full")
    assert all(v.interval is None and v.outcome is Outcome.CANNOT_TELL for v in verdicts)
    assert noise == NO_NOISE and "one seed gives no interval" in verdicts[0].sentence


def test_an_arm_that_lacks_a_seed_is_not_judged_yet():
    arms = [arm for arm in comparison() if (arm["name"], arm["seed"]) != ("small", 1)]
    assert [v.arm for v in judge(arms, "full")[0]] == ["one-shot"]


def test_without_the_baseline_there_are_no_verdicts():
    untrained = with_verdicts(Results.from_json({"baseline": "another", "arms": comparison()}))
    assert (untrained.verdicts, untrained.noise) == judge([], "full") == ((), NO_NOISE)


def test_a_baseline_that_is_no_arm_is_refused_with_the_arms_there_are():
    with pytest.raises(InvalidValueError, match=r"baseline is 'another', .*: use full, one-shot or small"):
        judge(comparison(), "another")


def test_a_whole_results_file_is_refused_with_what_to_give():
    with pytest.raises(InvalidValueError, match=r'give `?\["arms"\]'):
        judge({"arms": comparison()}, "full")  # type: ignore[arg-type]


def test_a_mark_without_a_loss_is_not_judged():
    arms = [*comparison(), *(arm("broken", seed, mark(float("nan"))) for seed in (0, 1))]
    assert [v.arm for v in judge(arms, "full")[0]] == ["one-shot", "small"]


def test_the_papers_mark_is_judged_separately_with_its_exact_flops():
    arms = comparison()
    for entry in arms:
        if entry["name"] == "one-shot":
            entry["marks"] = (*entry["marks"], mark(3.7, accounting="paper") | {"flops": 1100})
    paper = next(v for v in judge(arms, "full")[0] if v.accounting == "paper")
    assert "at the paper's own mark (+10.0 % exact FLOPs)" in paper.sentence


def test_an_arm_is_compared_with_the_baseline_at_each_of_its_budgets():
    arms = comparison(small=4.3)
    for entry in arms:
        if entry["name"] != "small":
            losses = {"full": 3.6, "one-shot": 3.62}
            entry["marks"] = (*entry["marks"], mark(losses[entry["name"]] + 0.02 * entry["seed"], share=1.69))
    verdicts, _ = judge(arms, "full")
    assert [(v.arm, v.budget_share) for v in verdicts] == [("one-shot", 1.0), ("one-shot", 1.69), ("small", 1.0)]
    assert verdicts[1].difference == pytest.approx(0.02) and verdicts[1].outcome is Outcome.LOSES
    assert "loses at equal exact FLOPs (1.69 times the budget)" in verdicts[1].sentence
    before, _ = _without_later_budgets(arms)
    assert [(v.difference, v.outcome) for v in before] == [(v.difference, v.outcome) for v in verdicts[::2]]


def _without_later_budgets(arms: list[dict[str, Any]]) -> Any:
    whole = [entry | {"marks": [m for m in entry["marks"] if m["budget_share"] <= 1.4]} for entry in arms]
    return judge(whole, "full")


def test_the_promised_keys_are_enough_to_judge():
    """A script outside the project may use only these, with numpy's numbers."""
    plain = comparison()
    for entry in plain:
        entry["seed"] = np.int64(entry["seed"])
        for each in entry["marks"]:
            each["val_loss"] = np.float64(each["val_loss"])
            del each["budget_share"], each["step"], each["train_loss"]
    assert judge(plain, "full") == judge(comparison(), "full")


def test_tasks_are_compared_example_by_example_for_each_seed():
    tasks = judge(comparison(), "full")[0][0].tasks
    assert [(t.seed, t.difference, t.mcnemar_p) for t in tasks["hellaswag"]] == [(0, 0.25, 1.0), (1, 0.25, 1.0)]


def test_plain_and_typed_arms_are_judged_alike():
    plain = json.loads(json.dumps(comparison()))
    results = with_verdicts(Results.from_json({"baseline": "full", "arms": plain}))
    assert judge(plain, "full") == judge([ArmResult.from_json(each) for each in plain], "full")
    assert (results.verdicts, results.noise) == judge(plain, "full")
    assert results.verdicts[0]["interval"] == results.verdicts[0].interval


def test_at_equal_tokens_the_sentence_states_the_share_of_the_compute():
    at_equal_tokens = {**mark(3.9, accounting="tokens"), "flops": 780.0}
    verdicts, _ = judge([*comparison(seeds=1), arm("grows", 0, at_equal_tokens)], "full")
    (verdict,) = [each for each in verdicts if each.arm == "grows"]
    assert "at equal tokens (78 % of the exact FLOPs)" in verdict.sentence
    assert verdict.difference == pytest.approx(-0.1)
    assert verdict.compute_multiplier == pytest.approx(1.2 / 0.78, rel=0.02)
