"""The order of windows is a permutation, looks random, and never changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deepen.data.permutation import permute


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 3000), seed=st.integers(0, 2**40), turn=st.integers(0, 10**6))
def test_each_number_comes_once(count: int, seed: int, turn: int):
    assert sorted(permute(np.arange(count), count, seed, turn).tolist()) == [*range(count)]


@settings(max_examples=100, deadline=None)
@given(count=st.integers(10**6, 2**40), data=st.data())
def test_positions_of_a_long_order_get_different_numbers_one_by_one_as_together(count: int, data: st.DataObject):
    positions = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=30))))
    numbers = permute(positions, count, 3, 1)
    assert len(set(numbers.tolist())) == len(positions) and 0 <= numbers.min() <= numbers.max() < count
    assert [permute(positions[[i]], count, 3, 1)[0] for i in range(len(positions))] == numbers.tolist()


@pytest.mark.parametrize("count", [7, 16])
def test_over_seeds_each_pair_of_numbers_comes_first_equally_often(count: int):
    pairs = np.array([permute(np.arange(2), count, seed, 0) for seed in range(2500)])
    seen = np.zeros((count, count))
    np.add.at(seen, (pairs[:, 0], pairs[:, 1]), 1)
    assert stats.chisquare(seen[~np.eye(count, dtype=bool)]).pvalue > 1e-3


def test_neighbours_epochs_and_seeds_are_not_correlated():
    count = 200_000
    order = permute(np.arange(count), count, 0, 0)
    others = [np.arange(count), np.roll(order, 1), np.roll(order, 1024)]
    others += [permute(np.arange(count), count, seed, turn) for seed, turn in ((0, 1), (1, 0))]
    for other in others:
        assert abs(np.corrcoef(order, other)[0, 1]) < 4 / np.sqrt(count)


def test_the_order_never_changes():
    assert permute(np.arange(10), 10, 0, 0).tolist() == [6, 2, 1, 0, 9, 3, 4, 5, 7, 8]
    assert permute(np.arange(4), 10**8, 5, 2).tolist() == [20561376, 63126608, 53888685, 26686308]
