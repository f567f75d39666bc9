"""Batches depend only on the data, the seed and the position."""

import numpy as np
import pytest
import torch

from deepen.data.batches import Batches, Prefetcher
from deepen.data.shards import Dataset, Tokens

FIRST_EPOCH = [4, 15, 7, 0, 1, 9, 5, 10, 3, 14, 13, 6, 12, 11, 2, 8]
SECOND_EPOCH = [12, 7, 3, 9, 14, 5, 0, 15, 2, 10, 6, 11, 13, 8, 1, 4]
"""The windows of two epochs with seed 7, of 16."""


def counting(n: int, shards: int = 1) -> Tokens:
    return Tokens(np.array_split(np.arange(n, dtype=np.uint16), shards))


def test_the_batch_at_a_token_is_the_same_for_any_micro_batch_size(dataset: Dataset):
    batches = Batches(dataset.tokens("train"), 16, seed=0)
    whole_x, whole_y = batches.at(640, 320, 16)
    for micro in (16, 32, 64, 160):
        parts = [batches.at(640 + offset, micro, 16) for offset in range(0, 320, micro)]
        assert torch.equal(torch.cat([x for x, _ in parts]), whole_x)
        assert torch.equal(torch.cat([y for _, y in parts]), whole_y)


def test_targets_are_the_next_tokens_and_an_epoch_sees_each_window_once():
    batches = Batches(counting(1025), 16, seed=3)
    x, y = batches.at(0, 1024, 16)
    assert torch.equal(y, x + 1)
    assert sorted(x[:, 0].tolist()) == list(range(0, 1024, 16))
    again, _ = batches.at(1024, 1024, 16)
    assert sorted(again[:, 0].tolist()) == list(range(0, 1024, 16)) and not torch.equal(again, x)


def test_a_smaller_context_subdivides_the_same_windows_in_the_same_order():
    batches = Batches(counting(1025), 32, seed=1)
    long, _ = batches.at(256, 256, 32)
    short, _ = batches.at(256, 256, 8)
    assert torch.equal(long.flatten(), short.flatten())


def test_seeds_differ_and_the_same_seed_does_not():
    first, second, third = (Batches(counting(4097), 16, seed=s).at(0, 256, 16)[0] for s in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_shards_read_as_one_array():
    one, many = counting(4097), counting(4097, shards=7)
    for start, length in ((0, 4097), (500, 700), (585, 2), (4000, 97)):
        assert np.array_equal(one.window(start, length), many.window(start, length))


def test_the_order_of_windows_is_fixed_for_all_time():
    """Old and new results must stay comparable, so these numbers never change."""
    batches = Batches(counting(1025), 64, seed=7)
    first, _ = batches.at(0, 1024, 64)
    second, _ = batches.at(1024, 1024, 64)
    assert [row // 64 for row in first[:, 0].tolist()] == FIRST_EPOCH
    assert [row // 64 for row in second[:, 0].tolist()] == SECOND_EPOCH


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_read_ahead_are_those_of_their_positions(ahead: bool):
    batches = Batches(counting(4097), 16, seed=0)
    with Prefetcher(batches, 64, 16, ahead=ahead) as prefetcher:
        for position in (0, 64, 128, 640, 704, 0):  # in order, with jumps
            for found, expected in zip(prefetcher.at(position), batches.at(position, 64, 16), strict=True):
                assert torch.equal(found, expected)
