"""A leader with followers gives the same results as one engine, command by command."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.train.checkpoint.state_folder import load_state, save_state
from deepen.train.distributed.leader import Leader, begin_engine
from deepen.train.distributed.processes import World
from deepen.train.engine import Engine
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state
from ranks import Ranks, alone
from short_runs import BATCH_TOKENS, CONTEXT, discard, short_segment


@pytest.fixture(scope="module")
def two() -> Iterator[Ranks]:
    ranks = Ranks(2)
    yield ranks
    ranks.close()


def train_and_score(
    world: World, model: ModelConfig, dataset: Dataset, folder: Path, *, shard: bool = False
) -> dict[str, Any]:
    """Call every method of an engine; the second run is stopped after three of many steps."""
    engine = begin_engine(
        initial_state(model, model.depth, seed=0),
        short_segment(model),
        model=model,
        settings=TrainSettings(),
        dataset=dataset,
        window=CONTEXT,
        world=replace(world, shard=shard),
        device=torch.device("cpu"),
    )
    assert isinstance(engine, Engine if world.control is None else Leader)
    engine.check_initialization()
    engine.run(2 * BATCH_TOKENS, discard)
    stops = iter([False, False, False, True])
    engine.run(40 * BATCH_TOKENS, discard, lambda: next(stops))
    assert world.control is None or world.control.is_idle
    tokens_bt, targets_bt = Batches(dataset.tokens("validation"), CONTEXT, seed=0).at(0, 3 * CONTEXT, CONTEXT)
    save_state(engine.state(), folder / "state")
    state = load_state(folder / "state")
    numbers = {
        "losses": engine.token_scores(tokens_bt, targets_bt)[..., 0],
        "recent": torch.tensor(state.recent_losses),
    }
    assert replace(state.progress, seconds=0) == replace(engine.progress, seconds=0)
    return {"step": state.progress.step} | numbers | dict(state.weights)


def count_reductions(world: World, model: ModelConfig, dataset: Dataset, *, reduce_once: bool) -> int:
    """How often gradients are reduced in the second step, of four micro-batches on each of two processes."""
    engine = begin_engine(
        initial_state(model, model.depth, seed=0),
        replace(short_segment(model), batch_tokens=8 * CONTEXT),
        model=model,
        settings=TrainSettings(reduce_once=reduce_once, micro_batch_tokens=CONTEXT),
        dataset=dataset,
        window=CONTEXT,
        world=replace(world, shard=True),
        device=torch.device("cpu"),
    )
    engine.run(8 * CONTEXT, discard)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        engine.run(16 * CONTEXT, discard)
    names = [event.key for event in recorded.events()]
    return sum(name.startswith("c10d::") and "reduce_scatter" in name for name in names)


@pytest.mark.slow
def test_sharded_gradients_are_sent_once_in_a_step_or_in_each_micro_batch(
    two: Ranks, model: ModelConfig, dataset: Dataset
):
    shallow = replace(model, depth=2)
    units = shallow.depth + 1  # each block, and what is around them
    assert two.call(count_reductions, shallow, dataset, reduce_once=True) == units
    assert two.call(count_reductions, shallow, dataset, reduce_once=False) == 4 * units


class Sent(TorchDispatchMode):
    """Records the tensors that processes exchange: how, in which type, and how many numbers are whole."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[tuple[str, torch.dtype, int]] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if operation in (torch.ops.c10d._allgather_base_.default, torch.ops.c10d._reduce_scatter_base_.default):
            whole = max((leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)), key=torch.numel)
            self.tensors.append((str(operation), whole.dtype, whole.numel()))
        return operation(*args, **(kwargs or {}))


def record_exchanges(
    world: World, model: ModelConfig, dataset: Dataset, precision: str
) -> list[tuple[str, torch.dtype, int]]:
    """What two processes with shards of a model exchange in its second step, of one micro-batch."""
    engine = begin_engine(
        initial_state(model, model.depth, seed=0),
        short_segment(model),
        model=model,
        settings=TrainSettings(precision=precision),
        dataset=dataset,
        window=CONTEXT,
        world=replace(world, shard=True),
        device=torch.device("cpu"),
    )
    engine.run(BATCH_TOKENS, discard)
    with Sent() as sent:
        engine.run(2 * BATCH_TOKENS, discard)
    return sent.tensors


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_matrices_travel_in_the_precision_of_products_and_all_else_in_fp32(
    precision: str, two: Ranks, llama: ModelConfig, dataset: Dataset
):
    """Each block's matrices twice, forward and backward, the rest once; every gradient in fp32."""
    model = replace(llama, depth=2, biases="all", qk_norm="per-head", norm_position="post")
    assert model.linear_parameters % 2 == model.block_norm_parameters % 2 == 0  # so that shards have no padding
    gather, reduce = "c10d._allgather_base_.default", "c10d._reduce_scatter_base_.default"
    around, block, in_block = model.parameters_at(0), model.block_parameters, torch.float32
    if precision == "bf16":  # norms are with what is around the blocks
        around += model.depth * model.block_norm_parameters
        block, in_block = model.linear_parameters, torch.bfloat16
    assert two.call(record_exchanges, model, dataset, precision) == [
        (gather, torch.float32, around),
        *(2 * model.depth * [(gather, in_block, block)]),
        *(model.depth * [(reduce, torch.float32, block)]),
        (reduce, torch.float32, around),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True], ids=["replicated", "sharded"])
def test_a_leader_with_a_follower_gives_the_results_of_one_engine(
    shard: bool, two: Ranks, model: ModelConfig, dataset: Dataset, tmp_path: Path
):
    shallow = replace(model, depth=2)
    by_one = alone(train_and_score, shallow, dataset, tmp_path / "one")
    by_two = two.call(train_and_score, shallow, dataset, tmp_path / "two", shard=shard)
    assert by_one.pop("step") == by_two.pop("step") == 5
    assert by_one.keys() == by_two.keys()
    for name, expected in by_one.items():
        torch.testing.assert_close(by_two[name], expected, rtol=1e-3, atol=2e-3, msg=name)
    torch.testing.assert_close(by_two["losses"], by_one["losses"], rtol=1e-4, atol=1e-4)
