"""Batches depend only on the data, the seed and the position."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from deepen.data.batches import Batches, Prefetcher, split_rows
from deepen.data.shard_file import Shard
from deepen.data.shard_formats import HEADER_BYTES, TokenLayout
from deepen.data.shards import Dataset, Tokens

FIRST_EPOCH = [14, 9, 0, 6, 8, 3, 15, 5, 13, 4, 12, 1, 11, 2, 10, 7]
SECOND_EPOCH = [10, 11, 15, 9, 6, 4, 13, 7, 3, 12, 0, 2, 5, 1, 14, 8]
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
    assert np.array_equal(counting(4097, shards=4097).window(1, 4000), np.arange(1, 4001))
    for start, length in ((0, 4097), (500, 700), (585, 2), (4000, 97)):
        assert np.array_equal(one.window(start, length), many.window(start, length))


def test_the_order_of_windows_is_fixed_for_all_time():
    """Old and new results must stay comparable, so these numbers never change."""
    batches = Batches(counting(1025), 64, seed=7)
    first, _ = batches.at(0, 1024, 64)
    second, _ = batches.at(1024, 1024, 64)
    assert [row // 64 for row in first[:, 0].tolist()] == FIRST_EPOCH
    assert [row // 64 for row in second[:, 0].tolist()] == SECOND_EPOCH


def test_epochs_of_few_windows_follow_one_another_within_a_batch():
    batches = Batches(counting(3 * 16 + 1), 16, seed=0)
    x, _ = batches.at(16, 12 * 16, 16)
    turns = [row // 16 for row in x[:, 0].tolist()]
    for epoch in (turns[2:5], turns[5:8], turns[8:11]):
        assert sorted(epoch) == [0, 1, 2]


def test_a_hundred_billion_tokens_take_no_memory(tmp_path: Path):
    """Of which any place is read, far into the run and in any epoch. One sparse file stands in for all shards."""
    path, length = tmp_path / "sparse_train.bin", 2**31 - 1
    with path.open("wb") as file:
        file.truncate(HEADER_BYTES + 2 * length)
    layout = TokenLayout(format="llm.c", dtype="uint16", offset=HEADER_BYTES, length=length)
    tokens = Tokens([Shard(path=path, layout=layout, sha256="", highest=0, modified_ns=0)] * 47)
    tracemalloc.start()
    for context in (1024, 131_072):
        batches = Batches(tokens, context, seed=0)
        for position in (0, 50 * 10**9 // context * context, 250 * 10**9 // context * context):
            inputs, _ = batches.at(position, 4 * context, context)
            assert inputs.shape == (4, context)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(tokens) > 100 * 10**9 and peak < 32 * 2**20


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_read_ahead_are_those_of_their_positions(ahead: bool):
    batches = Batches(counting(4097), 16, seed=0)
    with Prefetcher(batches, 64, 16, ahead=ahead) as prefetcher:
        for position in (0, 64, 128, 640, 704, 0):  # in order, with jumps
            found_bt = prefetcher.at(position)
            assert torch.equal(found_bt, batches.rows_at(position, 64, 16))
            assert found_bt.is_contiguous()  # CUDA copies nothing else from pinned memory without waiting


def test_inputs_and_targets_are_views_of_the_rows():
    batches = Batches(counting(4097), 16, seed=0)
    rows_bt = batches.rows_at(0, 64, 16)
    inputs_bt, targets_bt = split_rows(rows_bt)
    assert rows_bt.shape == (4, 17) and torch.equal(inputs_bt[:, 1:], targets_bt[:, :-1])
    assert {part.untyped_storage().data_ptr() for part in (inputs_bt, targets_bt)} == {
        rows_bt.untyped_storage().data_ptr()
    }
