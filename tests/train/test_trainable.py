"""Exactly the declared parameters are trained; anything else is an error."""

from dataclasses import replace

import pytest
import torch

from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable
from deepen.train.engine import Engine
from deepen.train.settings import TrainSettings
from deepen.train.state import initial_state
from short_runs import BATCH_TOKENS, CONTEXT, CPU, discard, is_same, short_engine, short_segment

EXPLICIT = [
    Trainable.explicit(blocks=(0, 3)),
    Trainable.explicit(blocks=(1,), head=True),
    Trainable.explicit(blocks=(2,), embeddings=True),
    Trainable.explicit(blocks=(), head=True),
    Trainable.explicit(blocks=(), embeddings=True),
    Trainable.explicit(blocks=(), norms=True),
    Trainable.explicit(blocks=(3,), head=True, norms=True),
]


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("trainable", [*TRAINABLE_SETS.values(), *EXPLICIT], ids=str)
def test_a_step_moves_the_trained_parts_and_nothing_else(
    trainable: Trainable, tied: bool, any_model: ModelConfig, dataset: Dataset
):
    model = replace(any_model, depth=4, tied=tied)
    trained = trainable.resolve(4, (2, 3))
    before = initial_state(model, 4, seed=0)
    segment = replace(short_segment(model), trains=trained)
    batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
    engine = Engine(before, segment, model, batches, TrainSettings(), CPU)
    engine.run(2 * BATCH_TOKENS, discard)
    after = engine.state()
    moved = {name for name in before.weights if not torch.equal(before.weights[name], after.weights[name])}
    parts = {f"blocks.{index}." for index in trained.blocks}
    if trained.norms:
        norms = ("norm_1", "norm_2", "attention.q_norm", "attention.k_norm")
        parts |= {"norm."} | {f"blocks.{index}.{name}." for index in range(4) for name in norms}
    if trained.head:
        parts |= {"norm.", "token_embedding." if tied else "head."}
    if trained.embeddings:
        parts |= {"token_embedding.", "position_embedding."}
    assert moved == after.moments.keys() == {name for name in before.weights if name.startswith(tuple(parts))}
    assert moved


def test_parameters_that_a_network_cuts_off_from_gradients_are_named(model: ModelConfig, dataset: Dataset):
    engine = short_engine(model, dataset.tokens("train"))
    mlp = engine.model.blocks[1].mlp
    mlp.forward = lambda x, f=mlp.forward: f(x).detach()
    before = engine.state()
    with pytest.raises(AssertionError, match=r"no gradient for \['blocks.1.mlp.down.bias'"):
        engine.run(64, discard)
    assert is_same(engine.state(), before)
