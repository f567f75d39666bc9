"""The workload of a bench: its kinds of phases, and the engines that take its steps."""

from dataclasses import replace

import pytest
import torch

from deepen.bench.workload import Workload, lowest_blocks, phase_kinds
from deepen.model.config import ModelConfig
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state


@pytest.fixture
def workload(model: ModelConfig) -> Workload:
    device = torch.device("cpu")
    return Workload(model=model, context=16, batch_tokens=32, settings=TrainSettings(), device=device)


def test_the_kinds_train_everything_at_three_depths_and_each_partial_set_at_two(model: ModelConfig):
    kinds = phase_kinds(model, 32, 16)
    assert kinds[0].phase.depth == model.depth and kinds[0].trained == TrainedParts.all(model.depth)
    assert [kind.phase.depth for kind in kinds if kind.phase.train is Trainable.ALL] == [12, 6, 1]
    partial = [kind for kind in kinds if kind.phase.train is not Trainable.ALL]
    assert {kind.phase.depth for kind in partial} == {12, 6}
    assert {kind.phase.train.name for kind in partial} == set(TRAINABLE_SETS) - {"all"}
    assert {kind.trained.blocks for kind in partial if kind.phase.depth == 12} == {(9, 10, 11), (0, 1, 2)}
    assert len({kind.phase.label for kind in kinds}) == len(kinds)


def test_the_lowest_blocks_are_a_shallow_model_with_the_same_weights(any_model: ModelConfig):
    state = initial_state(any_model, 12, seed=0)
    shallow = lowest_blocks(state, any_model, 3)
    assert shallow.weights.keys() == initial_state(any_model, 3, seed=0).weights.keys() and shallow.depth == 3
    assert all(weight is state.weights[name] for name, weight in shallow.weights.items())


@pytest.mark.parametrize(("asked", "rows"), [(0, 12), (16 * 12, 12), (16 * 5, 4), (1, 1)])
def test_other_trainers_take_micro_batches_of_our_size_or_the_next_smaller_divisor(
    workload: Workload, asked: int, rows: int
):
    settings = TrainSettings(micro_batch_tokens=asked)
    assert replace(workload, batch_tokens=12 * 16, settings=settings).micro_batch_rows == rows


def test_rows_hold_the_random_tokens_in_order(workload: Workload):
    rows, tokens = workload.rows(), workload.random_tokens()
    assert rows.shape == (4096, 17)
    assert rows.flatten().tolist() == tokens[: 4096 * 17].tolist()
    assert tokens.max() == workload.model.vocab - 1


@pytest.mark.parametrize(
    ("device", "precision", "pads"), [("cuda", "bf16", True), ("cuda", "fp32", False), ("cpu", "bf16", False)]
)
def test_a_gpu_computes_the_padding_of_the_head_in_bf16(
    workload: Workload, device: str, precision: str, pads: bool
):
    changed = replace(
        workload,
        model=replace(workload.model, vocab=500),
        device=torch.device(device),
        settings=TrainSettings(precision=precision),
    )
    full = changed.kinds()[0]
    padding = 3 * 2 * 12 * workload.model.width * 32 if pads else 0  # 12 more tokens, 3 products, 32 rows
    assert changed.computed_flops_per_step(full) - changed.flops_per_step(full) == padding


@pytest.mark.parametrize(("compile", "steps"), [("no", 1), ("yes", 1), ("cuda-graphs", 3)])
def test_cuda_graphs_need_more_warm_up(workload: Workload, compile: str, steps: int):
    settings = TrainSettings(compile=compile)
    changed = Workload(
        model=workload.model, context=16, batch_tokens=32, settings=settings, device=workload.device
    )
    assert changed.warm_up_steps == steps
