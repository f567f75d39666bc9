"""The sources of noise, on losses whose noise is known."""

from dataclasses import replace

import numpy as np
import pytest

from deepen.study.judge.strata import measure_strata, own_interval, text_error

NAMES = ("a", "b", "c", "d")


def test_what_a_seed_does_to_all_runs_alike_cancels():
    draw = np.random.default_rng(0)
    arms, baseline, seeds = draw.normal(size=(4, 3)), draw.normal(size=(3, 3)), draw.normal(0, 100, 3)
    plain, shifted = (measure_strata(NAMES, arms + each, baseline + each) for each in (0.0, seeds))
    assert shifted.variance == pytest.approx(plain.variance)
    assert shifted.degrees_of_freedom == pytest.approx(plain.degrees_of_freedom)


def test_the_variance_is_that_of_a_mean_difference():
    """Arms with noise 1, a baseline with noise 3 and noise 2 that the arms share, over four seeds."""
    draw, variances, differences = np.random.default_rng(1), [], []
    for _ in range(2000):
        arms = draw.normal(0, 1, (4, 4)) + draw.normal(0, 2, 4)
        baseline = draw.normal(0, 3, (3, 4))
        variances.append(measure_strata(NAMES, arms, baseline).variance)
        differences.append(float(arms[0].mean() - baseline[1].mean()))
    assert np.mean(variances) == pytest.approx((1 + 4 + 9) / 4, rel=0.05)
    assert np.var(differences) == pytest.approx((1 + 4 + 9) / 4, rel=0.1)


def test_only_the_noisy_arm_has_a_wide_interval():
    arms = np.array([[0.0, 0.1, -0.1], [0.0, 0.1, 0.0], [0.0, 0.1, 0.1], [9.0, -9.0, 0.0]])
    strata = measure_strata(NAMES, arms, np.array([[0.0, 0.1, 0.2], [0.0, 0.1, 0.1]]))
    quiet, noisy = strata.for_arm("a", 3), strata.for_arm("d", 3)
    assert quiet.excess["a"] == 0 and quiet.variance == strata.variance < noisy.variance
    assert noisy.critical_value >= quiet.critical_value


def test_with_one_arm_and_one_budget_it_is_the_paired_t_interval():
    arm, baseline = np.array([[1.0, 1.2, 1.1]]), np.array([[1.3, 1.1, 1.2]])
    strata, differences = measure_strata("a", arm, baseline), (arm - baseline)[0]
    low, high = own_interval(differences) or (0.0, 0.0)
    assert 2 * strata.critical_value * strata.variance**0.5 == pytest.approx(high - low)


def test_runs_without_noise_have_no_variance():
    strata = measure_strata("ab", np.ones((2, 2)), np.ones((3, 2)))
    assert (strata.variance, strata.correlation, strata.degrees_of_freedom) == (0.0, 0.0, 1)


def test_one_seed_has_no_interval():
    assert own_interval([-0.1]) is None


def test_the_f_test_finds_a_baseline_that_is_noisier_than_the_arms():
    draw = np.random.default_rng(2)
    equal, noisy = (
        measure_strata(NAMES, draw.normal(size=(4, 5)), draw.normal(0, std, (3, 5))).unequal_p for std in (1, 6)
    )
    assert equal is not None and noisy is not None and noisy < 1e-4 < 0.05 < equal


def test_the_choice_of_the_text_counts_as_the_mean_over_its_blocks():
    draw = np.random.default_rng(3)
    text, base = draw.normal(4, 1, 50), draw.normal(0, 0.1, 50)  # text that is hard is hard for both
    error = text_error([text + base + 0.5, text + base], [text, text])
    assert error is not None and error.freedom == 49
    assert error.mean_square == pytest.approx(np.var(base, ddof=1) / 50)
    assert text_error([[1.0, 2.0]], [[1.0]]) is text_error([[]], [[]]) is text_error([[1.0]], [[1.0]]) is None


def test_a_text_of_few_blocks_leaves_few_degrees_of_freedom():
    draw = np.random.default_rng(4)
    strata = measure_strata(NAMES, draw.normal(size=(4, 6)), draw.normal(size=(3, 6)))
    few = replace(strata, text_variance=100.0, text_freedom=1)
    assert 1 <= few.degrees_of_freedom < 1.1 and strata.degrees_of_freedom > 5
