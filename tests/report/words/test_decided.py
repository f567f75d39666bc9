"""The box that says how the verdicts were decided, and what tells arms apart on tasks."""

from typing import Any

import pytest

from deepen.report.summary.study_summary import StudySummary, summarize
from deepen.report.words.decided import describe_procedure
from deepen.report.words.tasks import describe_task_tests
from deepen.study.results.schema import Results

MARK = {"accounting": "flops", "budget_share": 1.0, "tokens": 64, "flops": 1000, "val_loss": 4.0}
NOISE = {
    "arms_std": 0.0024, "arms_df": 5, "baseline_std": 0.0143, "baseline_df": 2, "stderr": 0.0088, "arms": 6,
    "degrees_of_freedom": 2.5, "critical_value": 4.3, "confidence": 0.95, "seeds": 2, "unequal_p": 0.001,
    "detectable_multiplier": 1.59,
}  # fmt: skip


def verdict(name: str, **more: Any) -> dict[str, Any]:
    return {"arm": name, "baseline": "full", "n_seeds": 2, "difference": -0.04, "interval": [-0.08, -0.01]} | more


def study(**more: Any) -> StudySummary:
    arms = [{"name": name, "seed": seed, "marks": [MARK]} for name in ("full", "a", "b") for seed in (3, 4)]
    content = {"baseline": "full", "arms": arms, "verdicts": [verdict("a"), verdict("b")], "noise": NOISE}
    return summarize(Results.from_json(content | more))


def describe(**more: Any) -> dict[str, str]:
    return {part.label: part.text for part in describe_procedure(study(**more))}


def test_nothing_is_decided_before_the_first_verdict():
    assert describe(verdicts=[]) == {}


def test_seeds_intervals_noise_and_power_are_described_with_their_numbers():
    parts = describe()
    assert parts["Seeds"] == "Two (3 and 4), the same for every arm."
    assert parts["Intervals"] == (
        "The six intervals hold together with 95 %. Half an interval is 4.30 (Dunnett) times a standard error of "
        "0.0088 nats, which has 2.5 degrees of freedom; that of an arm noisier than the others is wider."
    )
    # The interval of the baseline's deviation is that of chi-squared with two degrees of freedom.
    assert "full training scatters by 0.0143 (0.0074 to 0.0899), the arms by 0.0024" in parts["Noise"]
    assert parts["Noise"].endswith("The baseline is noisier than the arms; the intervals allow for it.")
    assert "allow for it" not in describe(noise=NOISE | {"unequal_p": 0.4})["Noise"]
    assert parts["Power"] == "Two seeds could tell a multiplier of 1.59 or more, with probability 0.8."
    more = describe(noise=NOISE | {"shared_std": 0.007, "shared_df": 1, "slope": 0.22, "budgets": 3})["Power"]
    assert float(more.split("Three, had they been planned, could tell ")[1].rstrip(".")) < 1.59


def test_files_of_older_versions_have_no_numbers_that_are_unknown():
    parts = describe(noise={"baseline_seed_std": 0.01, "residual_std": 0.02, "degrees_of_freedom": 6})
    assert not {"Intervals", "Noise", "Power", "Looks"} & set(parts) and "Tuning" in parts


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"looks": [3], "seeds_planned": 3},
            "Three seeds were planned; verdicts were written once, with three seeds.",
        ),
        ({"looks": [2]}, "Verdicts were written once, with two seeds."),
        (
            {"looks": [2, 4], "seeds_planned": 2, "noise": NOISE | {"confidence": 0.9875}},
            "Two seeds were planned. Verdicts were written with two and four seeds: to look again gives chance "
            "another try, so these intervals have 98.75 %.",
        ),
    ],
)
def test_looks_are_counted(more: dict[str, Any], text: str):
    assert describe(**more)["Looks"] == text


def test_a_primary_arm_makes_the_others_exploratory():
    assert describe(primary="a")["Primary arm"].startswith("a was declared before the first verdict. All other")
    assert describe()["Primary arm"].startswith("None was declared")


def test_the_second_baseline_is_the_best_fixed_depth():
    assert describe()["Second baseline"].startswith("None: fixed depths were not compared")
    assert "full training is the best" in describe(best_fixed_depth="full")["Second baseline"]
    best = describe(best_fixed_depth="depth 6", depth_verdicts=[verdict("a", baseline="depth 6")])
    assert best["Second baseline"].startswith("depth 6, the best fixed depth of those tried.")


def test_depths_that_are_the_best_at_smaller_budgets_are_named():
    chosen = ((0.0625, "depth 1"), (0.125, "depth 1"), (0.25, "small 2"), (0.5, "depth 6"))
    tuning = {"best_depths": [{"budget_share": share, "arm": arm} for share, arm in chosen]}
    assert describe(best_fixed_depth="depth 6", tuning=tuning)["Second baseline"].endswith(
        " At smaller budgets, trials found others: depth 1 at 6 % and 12 % of the budget; small 2 at 25 % of the "
        "budget. All are compared at every budget."
    )


def test_the_intervals_say_whether_they_allow_for_the_validation_text():
    data = {"data": {"validation_tokens": 32_768, "mark_tokens": 10_485_760}}
    without = describe(regime=data)
    assert without["Validation text"].startswith("10.5 M tokens. Other text would give other differences")
    assert "another corpus, tokenizer, model size, validation text or learning-rate" in without["What varies"]
    known = describe(regime=data, noise=NOISE | {"text_std": 0.0012})
    assert known["Validation text"] == (
        "10.5 M tokens. Which text is validated on adds a standard error of 0.0012, which the intervals include."
    )
    assert "allow for data order, initialization, rounding and validation text." in known["What varies"]


def test_tuning_is_described_with_its_trials_its_cost_and_choices_at_the_edge():
    untuned = describe(regime={"peak_lr": 0.008})
    assert untuned["Tuning"].startswith("None in this study: every arm has the study’s learning rate, 0.008.")
    tuned = [{"name": "full", "at_edge": True}, {"name": "a", "options_at_edge": ["grow_at"]}]
    tuning = {"seeds": [1000], "share": 1.0, "tokens": 2e6, "tokens_if_separate": 4e6, "trials_per_arm": 5}
    text = describe(tuning=tuning | {"arms": tuned})["Tuning"]
    assert text.startswith(
        "Five trials for every arm and every fixed depth, on seed 1000, which no verdict uses, at the whole "
        "budget. 2.00 M tokens were trained for it, where separate runs would have trained 4.00 M."
    )
    assert "The best rate is at the end of what was tried for full:" in text
    assert "The best grow_at of a is at the end of what was tried." in text


def test_arms_are_told_apart_on_a_task_by_the_corrected_paired_test():
    tests = [{"difference": 0.012, "p": 0.001, "p_holm": 0.004}, {"difference": -0.001, "p": 0.6, "p_holm": 0.6}]
    verdicts = [verdict(name, task_tests={"hellaswag": test}) for name, test in zip("ab", tests, strict=True)]
    assert describe_task_tests(study(verdicts=verdicts), "hellaswag") == [
        "HellaSwag differs from full training’s with a (+1.20 points, p = 0.004).",
        "HellaSwag cannot be told apart from full training’s with b (−0.10 points, p = 0.6).",
    ]
    assert describe_task_tests(study(), "hellaswag") == []


def test_one_trial_of_each_depth_is_no_tuning_of_rates():
    tuning = {"seeds": [1000], "share": 1.0, "tokens": 2e6, "tokens_if_separate": 2e6, "trials_per_arm": 1}
    text = describe(tuning=tuning | {"arms": [{"name": "full", "is_fixed_depth": True}]})["Tuning"]
    assert text.startswith("None in this study: every arm has the study’s learning rate")
    assert "One trial of every fixed depth chose the best of them, on seed 1000" in text
