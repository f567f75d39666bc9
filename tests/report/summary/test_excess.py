"""Excess loss since growth, averaged over seeds and in sentences."""

from typing import Any

import pytest

from deepen.report.summary.excess import describe_excess, summarize_excess
from deepen.study.results.schema import Results


def run(name: str, seed: int, losses: dict[int, float], **more: Any) -> dict[str, Any]:
    curve = [{"tokens": t, "flops": 10 * t, "lr": 1.0, "val_loss": loss} for t, loss in losses.items()]
    return {"name": name, "seed": seed, "curve": curve} | more


def grown(seed: int, losses: dict[int, float], at: int = 1000) -> dict[str, Any]:
    growth = {"tokens": at, "flops": 10 * at, "depth_before": 3, "depth_after": 6}
    return run("one-shot", seed, losses, growths=[growth])


def summarize(*arms: dict[str, Any]) -> list[Any]:
    return list(summarize_excess(Results.from_json({"baseline": "full", "arms": arms})))


FLAT = dict.fromkeys((1000, 1500, 2000), 4.0)


def test_seeds_are_averaged_by_tokens_since_their_own_growth():
    later = {1500: 4.2, 2000: 4.4}
    [excess] = summarize(
        run("full", 0, FLAT), run("full", 1, FLAT), grown(0, {1000: 4.1, 1500: 4.2}), grown(1, later, at=1500)
    )
    before, after = excess.curves["tokens"]
    assert (before.tokens, after.tokens) == (0, 500)
    assert (round(after.loss.mean, 6), round(after.loss.low, 6), round(after.loss.high, 6)) == (0.3, 0.2, 0.4)
    assert "after 1.00 k to 1.50 k tokens, by seed" in describe_excess(excess)


def test_a_seed_that_was_measured_at_other_tokens_is_read_between_its_points():
    other = grown(1, {1200: 4.2, 1500: 4.5, 2000: 4.0}, at=1200)
    [excess] = summarize(
        run("full", 0, FLAT), run("full", 1, FLAT | {1200: 4.0}), grown(0, {1000: 4.1, 1500: 4.1}), other
    )
    tokens, losses = zip(*((point.tokens, point.loss.mean) for point in excess.curves["tokens"]), strict=True)
    assert tokens == (0, 300, 500)  # up to where both seeds are measured
    assert losses == pytest.approx([0.15, 0.3, 0.2])


def test_the_sentence_gives_the_token_at_which_the_arm_catches_up():
    [excess] = summarize(run("full", 0, FLAT), grown(0, {1000: 4.1, 1500: 4.2, 2000: 3.8}))
    sentence = describe_excess(excess)
    assert sentence.startswith("one-shot last grew from 3 to 6 blocks, after 1.00 k tokens.")
    assert "At equal tokens its loss falls to full training’s, 750 tokens later" in sentence


def test_an_arm_that_does_not_catch_up_is_said_to_be_above():
    [excess] = summarize(run("full", 0, FLAT), grown(0, {1000: 4.1, 1500: 4.2, 2000: 4.1}))
    assert (
        "At equal tokens its loss is still above full training’s, 1.00 k tokens later (+0.100)"
        in describe_excess(excess)
    )


def test_an_arm_that_grew_within_the_decay_is_said_to_be_unmeasured():
    baseline = run("full", 0, FLAT)
    for point in baseline["curve"][1:]:
        point["lr"] = 0.5
    [excess] = summarize(baseline, grown(0, {1000: 4.1, 1500: 4.2}))
    assert "not measured between its growth and the decay" in describe_excess(excess)


def test_the_ends_of_runs_are_at_their_own_tokens_since_growth():
    """A run with half of the budget grows after the same share of its tokens as that with the whole."""
    phases = [{"tokens": 600, "depth": 3}, {"tokens": 400, "depth": 6, "new_layers": [3, 4, 5]}]
    arm = grown(0, {1000: 4.1, 1500: 4.2}) | {"phases": phases}
    same = {"arm": "one-shot", "accounting": "flops"}
    verdicts = [
        same | {"budget_share": 1.0, "tokens": 1000, "difference": 0.1, "interval": [0.0, 0.2]},
        same | {"budget_share": 0.5, "tokens": 500, "difference": -0.1},
        same | {"budget_share": 1.0, "tokens": 900, "difference": 0.3, "accounting": "paper"},
    ]
    content = {"baseline": "full", "arms": [run("full", 0, FLAT), arm], "verdicts": verdicts}
    [excess] = summarize_excess(Results.from_json(content))
    ends = [(end.tokens, end.difference, end.interval, end.is_whole_budget) for end in excess.ends]
    assert ends == [(200, -0.1, None, False), (400, 0.1, (0.0, 0.2), True)]
    arm["growths"][0]["trigger"] = "plateau"
    [decided] = summarize_excess(Results.from_json(content))
    assert [end.is_whole_budget for end in decided.ends] == [True]


def test_numbers_of_any_size_are_averaged():
    huge = {1000: 4.1, 10**30: 4.2}
    [excess] = summarize(run("full", 0, dict.fromkeys(huge, 4.0)), grown(0, huge))
    assert [point.loss.mean for point in excess.curves["tokens"]] == pytest.approx([0.1, 0.2])
