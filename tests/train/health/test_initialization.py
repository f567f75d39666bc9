"""Wrong initial weights are named before the first step."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deepen.bench.workload import Workload
from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.schedule.recipes.constant_depth import small
from deepen.study.compile.pieces import split_schedule
from deepen.train.engine import Engine
from deepen.train.errors import TrainingError
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state
from short_runs import CONTEXT, CPU, discard, is_same, short_engine


@pytest.mark.slow
def test_fresh_models_of_every_depth_pass_unchanged(any_model: ModelConfig, dataset: Dataset):
    batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
    for depth in range(any_model.depth):
        schedule = replace(small(any_model, 320, start_depth=depth), rate=Constant()).in_steps(32, CONTEXT)
        [segment] = split_schedule(schedule, Ledger(model=any_model))
        fresh = initial_state(any_model, depth, seed=depth)
        checked, other = (Engine(fresh, segment, any_model, batches, TrainSettings(), CPU) for _ in range(2))
        checked.check_initialization()
        checked.run(64, discard)
        other.run(64, discard)
        assert is_same(checked.state(), other.state())


def test_a_fresh_deep_model_whose_norms_come_last_passes(dataset: Dataset):
    model = ModelConfig(
        name="x", family="llama", depth=64, width=64, heads=4, context=CONTEXT, vocab=dataset.vocab,
        qk_norm="all-heads", norm_position="post",
    )  # fmt: skip
    short_engine(model, dataset.tokens("train")).check_initialization()


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("blocks.1.mlp.up.weight", lambda weight: weight.mul_(math.nan), "blocks.1.mlp.up.weight goes up to nan"),
        ("blocks.1.mlp.up.weight", lambda weight: weight.mul_(100), "blocks.1.mlp.up.weight goes up to"),
        ("blocks.0.attention.out.weight", lambda weight: weight.zero_(), "out.weight has root mean square 0"),
        ("blocks.1.norm_2.weight", lambda weight: weight.fill_(3), "blocks.1.norm_2.weight goes up to 3"),
        ("token_embedding.weight", lambda weight: weight.sub_(1), "token_embedding.weight goes up to"),
    ],
    ids=["nan", "too large", "zero", "norm", "shifted"],
)  # fmt: skip
def test_wrong_fresh_weights_are_named(
    name: str, change: Callable[[Tensor], Tensor], words: str, shallow: ModelConfig, dataset: Dataset
):
    engine = short_engine(shallow, dataset.tokens("train"))
    with torch.no_grad():
        change(dict(engine.model.named_parameters())[name])
    with pytest.raises(TrainingError, match=words):
        engine.check_initialization()


def test_wrong_activations_and_a_wrong_first_loss_are_named(shallow: ModelConfig, dataset: Dataset):
    engine = short_engine(shallow, dataset.tokens("train"))
    block = engine.model.blocks[1]
    engine.model.blocks[1].forward = lambda x, f=block.forward: 1000 * f(x)
    with pytest.raises(TrainingError, match=r"after blocks.1 have root mean square"):
        engine.check_initialization()
    engine = short_engine(shallow, dataset.tokens("train"))
    norm = engine.model.norm
    norm.forward = lambda x, f=norm.forward: 100 * f(x)  # type: ignore[method-assign, misc]
    with pytest.raises(TrainingError, match="loss before the first step is"):
        engine.check_initialization()


def test_of_long_sequences_only_the_beginning_is_checked(shallow: ModelConfig):
    """Without flash attention the scores of a whole sequence would take context² numbers for each head."""
    long = replace(shallow, context=4096)
    workload = Workload(
        model=long, context=4096, batch_tokens=8 * 4096, settings=TrainSettings(), device=torch.device("cpu")
    )
    engine, seen = workload.full_training(), []
    block = engine.model.blocks[0]

    def forward(x_btd: Tensor, *shared: Tensor) -> Tensor:
        seen.append(tuple(x_btd.shape[:2]))
        return checked(x_btd, *shared)

    checked, block.forward = block.forward, forward
    engine.check_initialization()
    assert seen == [(4, 1024)]
