import math

import numpy as np
import pytest

from deepen.study.results.statistics import (
    compute_multiplier,
    mcnemar,
    own_interval,
    pooled_interval,
    seed_noise,
)


def test_the_pooled_interval_covers_the_truth_in_95_percent_of_studies():
    draw, covered, trials = np.random.default_rng(0), 0, 2000
    for _ in range(trials):
        seed_effect = draw.normal(0, 0.05, 2)
        losses = {
            name: list(4 + effect + seed_effect + draw.normal(0, 0.01, 2))
            for name, effect in (("full", 0.0), ("a", 0.02), ("b", -0.01), ("c", 0.0), ("d", 0.1))
        }
        differences = [a - b for a, b in zip(losses["a"], losses["full"], strict=True)]
        interval = pooled_interval(differences, seed_noise(losses, "full"))
        assert interval is not None
        covered += interval[0] <= 0.02 <= interval[1]
    assert abs(covered / trials - 0.95) < 0.015


def test_pooling_over_arms_narrows_the_interval_of_two_seeds():
    losses = {"full": [4.0, 4.1], "a": [3.9, 4.005], "b": [4.2, 4.29], "c": [4.05, 4.152]}
    differences = [a - b for a, b in zip(losses["a"], losses["full"], strict=True)]
    pooled, own = pooled_interval(differences, seed_noise(losses, "full")), own_interval(differences)
    assert pooled is not None and own is not None
    assert pooled[1] - pooled[0] < own[1] - own[0]


def test_one_seed_gives_no_interval():
    noise = seed_noise({"full": [4.0], "a": [3.9]}, "full")
    assert noise.baseline_seed_std is None
    assert pooled_interval([-0.1], noise) is own_interval([-0.1]) is None


def test_the_multiplier_of_a_power_law_is_the_ratio_of_computes():
    flops = [0.7, 1.0, 1.4]
    losses = [3 - math.log(c) for c in flops]  # linear in log compute: interpolation is exact
    better = compute_multiplier(3 - math.log(1.25), 1.0, flops, losses)
    worse = compute_multiplier(3 - math.log(0.8), 1.0, flops, losses)
    assert better is not None and worse is not None
    assert (better.value, better.bound) == (pytest.approx(1.25), None)
    assert (worse.value, worse.bound) == (pytest.approx(0.8), None)


def test_outside_the_measured_budgets_the_multiplier_is_only_a_bound():
    flops, losses = [0.7, 1.0, 1.4], [3.1, 3.0, 2.9]
    above, below = (compute_multiplier(loss, 1.0, flops, losses) for loss in (2.5, 3.5))
    assert above is not None and (above.value, above.bound) == (pytest.approx(1.4), "above")
    assert below is not None and (below.value, below.bound) == (pytest.approx(0.7), "below")


def test_a_budget_that_did_not_help_the_baseline_is_left_out():
    found = compute_multiplier(3.05, 1.0, [0.5, 1.0, 1.1, 2.0], [3.1, 3.0, 3.2, 2.9])
    assert found is not None and found.value == pytest.approx(0.5**0.5)


def test_a_baseline_that_more_compute_does_not_help_has_no_multiplier():
    assert compute_multiplier(3.0, 1.0, [0.7, 1.0], [3.0, 3.0]) is None
    assert compute_multiplier(3.0, 1.0, [1.0], [3.0]) is None


def test_mcnemar_counts_the_examples_on_which_the_two_differ():
    difference, p = mcnemar("1" * 60 + "0" * 40, "0" * 10 + "1" * 50 + "0" * 40)
    assert difference == pytest.approx(0.1) and p == pytest.approx(2 * 0.5**10)
    assert mcnemar("1010", "1010") == (0.0, 1.0)
