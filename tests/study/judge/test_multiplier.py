"""The compute multiplier, on laws whose multiplier is known."""

import math

import numpy as np
import pytest

from deepen.study.judge.multiplier import BaselineCurve, claim_multiplier
from deepen.study.results.verdict_schema import Bound

BUDGETS = (0.7, 1.0, 1.4)
WIDE = (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)


def curve(*, exponent: float = 0.3, noise: float = 1e-6, budgets=BUDGETS, drop: float = 1.0) -> BaselineCurve:
    losses = [3 + drop * c**-exponent for c in budgets]
    return BaselineCurve(budgets=budgets, losses=losses, noise=noise, critical=3.0)


def difference(multiplier: float, exponent: float = 0.3) -> float:
    return multiplier**-exponent - 1


@pytest.mark.parametrize("multiplier", [0.8, 1.0, 1.25])
def test_it_is_the_ratio_of_computes_of_a_law(multiplier: float):
    claim = claim_multiplier(curve(), difference(multiplier), 1e-6)
    assert claim.value == pytest.approx(multiplier) and claim.bound is None
    assert claim.interval is not None and claim.interval[0] < multiplier < claim.interval[1]


@pytest.mark.parametrize("exponent", [0.05, 0.15, 0.5, 0.8])
def test_the_interval_holds_for_any_exponent_even_without_noise(exponent: float):
    low, high = curve(exponent=exponent, noise=0.0).interval(difference(1.3, exponent), variance=0.0)
    assert low - 1e-9 <= 1.3 <= high + 1e-9


@pytest.mark.parametrize("exponent", [0.1, 0.5])
def test_five_budgets_show_the_exponent(exponent: float):
    found = curve(exponent=exponent, noise=1e-9, budgets=WIDE)
    assert found.best.exponent == pytest.approx(exponent, abs=0.03)
    assert found.estimate(difference(1.7, exponent)) == pytest.approx(1.7, rel=0.01)
    assert {0.05, 0.8}.isdisjoint(line.exponent for line in found.lines)


def test_one_is_in_the_interval_exactly_if_zero_is_in_that_of_the_difference():
    for gain in np.linspace(-0.02, 0.02, 21):
        low, high = curve().interval(float(gain), variance=1e-5)
        assert (low <= 1 <= high) == (abs(gain) <= 3 * math.sqrt(1e-5))


def test_a_noisy_slope_widens_the_interval():
    quiet, noisy = (curve(noise=noise).interval(difference(1.3), variance=1e-6) for noise in (1e-7, 1e-4))
    assert noisy[0] < quiet[0] and noisy[1] > quiet[1]


def test_beyond_the_budgets_only_the_end_of_the_interval_is_claimed():
    claim = claim_multiplier(curve(), difference(1.6), 4e-4)
    assert claim.interval is not None and claim.interval[1] == pytest.approx(1.4)
    assert claim.interval_bounds == (None, Bound.ABOVE)
    assert claim.bound is Bound.ABOVE and claim.value == claim.interval[0] < 1.4
    certain = claim_multiplier(curve(), difference(3.0), 1e-6)
    assert (certain.value, certain.interval_bounds) == (pytest.approx(1.4), (Bound.ABOVE, Bound.ABOVE))
    worse = claim_multiplier(curve(), difference(0.5), 1e-6)
    assert (worse.value, worse.bound) == (pytest.approx(0.7), Bound.BELOW)


def test_without_an_interval_nothing_is_claimed_beyond_the_budgets():
    assert claim_multiplier(curve(), difference(1.2), None).value == pytest.approx(1.2)
    assert claim_multiplier(curve(), difference(1.6), None).withheld


def test_compute_that_does_not_help_has_no_multiplier():
    for claim in (
        claim_multiplier(curve(budgets=(1.0,)), -0.1, 1e-6),
        claim_multiplier(curve(drop=-1.0), -0.1, 1e-6),
        claim_multiplier(curve(noise=1.0), -0.1, 1e-6),
    ):
        assert claim.value is claim.interval is None and claim.withheld


def test_an_arm_that_used_less_compute_has_a_larger_multiplier():
    claim = claim_multiplier(curve(), 0.0, 1e-6, scale=1 / 0.78)
    assert claim.value == pytest.approx(1 / 0.78)
