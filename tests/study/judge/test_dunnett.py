import numpy as np
import pytest
from scipy import stats

from deepen.study.judge.dunnett import critical_value


@pytest.mark.parametrize(
    ("comparisons", "correlation", "freedom", "confidence"),
    [
        (2, 0.0, 1.0, 0.95),
        (6, 0.5, 6.0, 0.95),
        (6, 0.95, 2.5, 0.95),
        (3, 0.2, 200.5, 0.975),
        (9, 0.7, 40.0, 0.9875),
    ],
)
def test_all_variables_are_within_it_with_the_confidence(comparisons, correlation, freedom, confidence):
    """scipy integrates the multivariate t distribution by random points, to about three digits here."""
    quantile = critical_value(comparisons, correlation, freedom, confidence)
    limit = np.full(comparisons, quantile)
    shape = np.full((comparisons, comparisons), correlation) + (1 - correlation) * np.eye(comparisons)
    within = stats.multivariate_t.cdf(limit, shape=shape, df=freedom, lower_limit=-limit, random_state=0)
    assert within == pytest.approx(confidence, abs=5e-4)


def test_one_comparison_takes_students_quantile():
    assert critical_value(1, 0.5, 3.0) == pytest.approx(stats.t.ppf(0.975, 3))


def test_it_is_between_students_quantile_and_bonferronis():
    for freedom in (1.0, 2.5, 30.0):
        quantiles = [critical_value(6, correlation, freedom) for correlation in (0.95, 0.5, 0.0)]
        assert quantiles == sorted(quantiles)
        assert stats.t.ppf(0.975, freedom) < quantiles[0] and quantiles[-1] < stats.t.ppf(1 - 0.025 / 6, freedom)


@pytest.mark.parametrize("freedom", [1.0, 4.0, 200.0])
def test_it_rises_with_the_confidence_however_high(freedom):
    quantiles = [critical_value(6, 0.5, freedom, 1 - 0.05 * 2.0**-look) for look in range(45)]
    assert quantiles == sorted(set(quantiles))
    assert all(np.isfinite(quantiles))
