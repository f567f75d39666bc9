"""What a parametrization promises of training: how sizes depend on the depth."""

from dataclasses import replace

import torch
from torch import Tensor

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.schedule.rate import Constant
from deepen.schedule.recipes.constant_depth import full
from deepen.study.compile.pieces import split_schedule
from deepen.train.engine import Engine
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state
from short_runs import BATCH_TOKENS, CONTEXT, CPU, discard

STEPS = 6


@torch.no_grad()
def residual_stream(network: Decoder, tokens_bt: Tensor) -> Tensor:
    x_btd, *shared = network.embed(tokens_bt)
    for block in network.blocks:
        x_btd = block(x_btd, *shared)
    return x_btd


def test_what_training_changes_grows_with_depth_unless_branches_are_divided_by_it(
    any_model: ModelConfig, dataset: Dataset
) -> None:
    """The change of the residual stream above the last block, after a few steps at the same rate."""
    batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
    tokens_bt, _ = batches.at(STEPS * BATCH_TOKENS, BATCH_TOKENS, CONTEXT)

    def change(parametrization: str, depth: int) -> float:
        model = replace(any_model, depth=depth, init_std=0.2, parametrization=parametrization)
        schedule = replace(full(model, STEPS * BATCH_TOKENS), rate=Constant(peak=1e-2))
        [segment] = split_schedule(schedule.in_steps(BATCH_TOKENS, CONTEXT), Ledger(model=model))
        engine = Engine(initial_state(model, depth, seed=0), segment, model, batches, TrainSettings(), CPU)
        before = residual_stream(engine.model, tokens_bt)
        engine.run(segment.end, discard)
        return (residual_stream(engine.model, tokens_bt) - before).norm().item()

    growth = {name: change(name, 16) / change(name, 2) for name in ("standard", "depth-mup")}
    assert 1 / 3 < growth["depth-mup"] < 1.25
    assert growth["standard"] > 3
