"""Exactly the declared parameters learn; anything else is an error."""

import pytest

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from short_runs import discard, is_same, short_engine


def test_parameters_that_a_network_keeps_from_learning_are_named(model: ModelConfig, dataset: Dataset):
    engine = short_engine(model, dataset.tokens("train"))
    mlp = engine.model.blocks[1].mlp
    mlp.forward = lambda x, f=mlp.forward: f(x).detach()
    before = engine.state()
    with pytest.raises(AssertionError, match=r"no gradient for \['blocks.1.mlp.down.bias'"):
        engine.run(64, discard)
    assert is_same(engine.state(), before)
