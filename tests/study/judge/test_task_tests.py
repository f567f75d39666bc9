"""McNemar's test for one seed and over seeds, and Holm's correction."""

import numpy as np
import pytest

from deepen.study.judge.task_tests import holm, sign_flip_p


def test_over_one_seed_the_p_value_is_that_of_the_binomial():
    outcomes = np.array([1] * 7 + [-1] * 2 + [0] * 50)
    tail = sum((36, 9, 1)) / 2**9  # at most two of nine
    assert sign_flip_p(outcomes) == pytest.approx(2 * tail)
    assert sign_flip_p(np.zeros(50)) == 1.0


def test_an_example_that_differs_in_all_seeds_counts_as_one_example():
    once = np.array([1, 1, 1, -1])
    assert sign_flip_p(3 * once) == pytest.approx(sign_flip_p(once))


def test_the_p_value_of_equal_arms_is_rarely_small():
    draw, trials = np.random.default_rng(0), 400
    small = 0
    for _ in range(trials):
        prone = draw.uniform(0, 0.3, 80)  # some examples differ in most seeds
        sign = draw.choice([-1, 1], 80)
        small += sign_flip_p(sum(sign * (draw.uniform(size=80) < prone) for _ in range(3))) < 0.05
    assert small / trials < 0.06


def test_holm_is_bonferroni_for_the_smallest_and_never_decreases():
    assert holm({"a": 0.01, "b": 0.02, "c": 0.9}) == pytest.approx({"a": 0.03, "b": 0.04, "c": 0.9})
    assert holm({"a": 0.03, "b": 0.02}) == pytest.approx({"a": 0.04, "b": 0.04})
    assert holm({}) == {}
