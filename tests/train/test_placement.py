"""How batches are divided: every row is trained once, and all processes take the same number of micro-batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepen.train.distributed.placement import make_placement
from deepen.train.distributed.processes import World
from deepen.train.distributed.replicated import Replicated
from deepen.train.placement import Placement, SingleProcess
from deepen.train.settings import TrainSettings

CPU = torch.device("cpu")


def placements(size: int) -> list[Placement]:
    return [Replicated(CPU, rank, size) for rank in range(size)] if size > 1 else [SingleProcess(CPU)]


@given(rows=st.integers(1, 40), size=st.integers(1, 8), micro_batch=st.integers(1, 12))
def test_the_micro_batches_of_all_processes_are_the_batch(rows: int, size: int, micro_batch: int):
    each = [list(placement.micro_batches(rows, micro_batch)) for placement in placements(size)]
    trained = [row for parts in each for part in parts if part.share > 0 for row in range(rows)[part.rows]]
    assert sorted(trained) == list(range(rows))
    assert sum(part.share for parts in each for part in parts) == pytest.approx(1)
    for part in (part for parts in each for part in parts):
        taken = len(range(rows)[part.rows])
        assert 1 <= taken <= micro_batch  # a pass without rows is not possible
        assert part.share in (0, taken / rows)


@given(rows=st.integers(1, 40), size=st.integers(1, 8), micro_batch=st.integers(1, 12))
def test_all_processes_take_as_many_micro_batches_and_average_gradients_in_the_last(
    rows: int, size: int, micro_batch: int
):
    each = [list(placement.micro_batches(rows, micro_batch)) for placement in placements(size)]
    assert len({len(parts) for parts in each}) == 1
    assert all([part.is_last for part in parts] == [False] * (len(parts) - 1) + [True] for parts in each)
    max_rows = max(sum(len(range(rows)[part.rows]) for part in parts if part.share > 0) for parts in each)
    assert {placement.max_rows(rows) for placement in placements(size)} == {max_rows}


def test_one_process_needs_no_other():
    placement = make_placement(World(), CPU, TrainSettings())
    value = torch.arange(3.0)
    assert isinstance(placement, SingleProcess) and placement.gradient_scale == 1
    assert placement.total(value) is value and placement.full(value) is value
    copies = placement.copy({"x": value})["x"], placement.load({"x": value}, "x", like=torch.empty(1))
    value.zero_()
    assert all(copy.tolist() == [0, 1, 2] for copy in copies)
