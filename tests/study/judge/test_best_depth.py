"""The best of several constant depths, and how sure that is."""

import math

import numpy as np
import pytest

from deepen.study.judge.best_depth import find_best_depth

DEPTHS = (2, 3, 4, 6, 8)
BEST, BEND, NOISE = 4.4, 0.2, 0.01


def draw(seeds: int, noise: float = NOISE, bend: float = BEND, state: int = 0) -> dict[int, list[float]]:
    """Losses around a parabola in the logarithm of the depth; a seed moves all depths alike, and by much."""
    random = np.random.default_rng(state)
    shared = random.normal(0, 0.1, seeds)
    return {
        depth: list(4 + bend * math.log(depth / BEST) ** 2 + shared + random.normal(0, noise, seeds))
        for depth in DEPTHS
    }


def test_without_noise_the_minimum_is_found_exactly():
    best = find_best_depth(draw(3, noise=1e-9))
    assert best.lowest == 4 and best.close == (4,) and not best.is_at_edge
    assert best.minimum == pytest.approx(BEST) and best.interval == pytest.approx((BEST, BEST), rel=1e-5)
    assert best.noise_std == pytest.approx(0, abs=1e-8)


def test_the_intervals_hold_as_often_as_they_say():
    found = [find_best_depth(draw(3, state=state)) for state in range(400)]
    assert np.mean([best.noise_std for best in found]) == pytest.approx(NOISE, rel=0.1)
    bounded = [best.interval for best in found if best.interval]
    assert len(bounded) > 0.9 * len(found)
    assert 0.93 <= np.mean([low <= BEST <= high for low, high in bounded]) <= 0.98
    assert np.mean([4 in best.close for best in found]) > 0.95  # truly the best of these depths


def test_a_flat_curve_has_no_interval_and_no_best():
    found = [find_best_depth(draw(3, bend=0.0, state=state)) for state in range(100)]
    inside = [best for best in found if not best.is_at_edge]
    assert np.mean([best.interval is None for best in inside]) > 0.85
    assert np.mean([best.close == DEPTHS for best in found]) > 0.9


def test_a_lowest_depth_at_the_edge_has_no_minimum():
    best = find_best_depth({depth: [4 + depth / 10, 4.01 + depth / 10] for depth in DEPTHS})
    assert (best.lowest, best.is_at_edge, best.minimum, best.interval) == (2, True, None, None)


def test_one_seed_tells_no_depths_apart():
    best = find_best_depth(draw(1))
    assert best.close == DEPTHS and best.interval is None and best.noise_std is None
    assert best.minimum is not None


def test_a_parabola_that_is_lowest_elsewhere_has_no_minimum():
    """Through these losses it is lowest at 729 blocks."""
    best = find_best_depth({2: [4.1], 3: [4.1], 4: [3.9], 6: [4.1], 8: [3.9]})
    assert best.lowest == 4 and not best.is_at_edge and best.minimum is None


@pytest.mark.parametrize("state", [519, 922])
def test_an_interval_ends_within_reach_where_the_curve_is_almost_flat(state: int):
    """Of Fieller's interval one end would be 1e-20 or 1e21 blocks."""
    best = find_best_depth(draw(2, bend=0.05, state=state))
    assert best.interval is not None and best.minimum is not None
    assert 0.01 < best.interval[0] < best.minimum < best.interval[1] < 1000
