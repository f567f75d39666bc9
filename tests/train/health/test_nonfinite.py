"""A loss or gradient that is not finite is traced to its weight or its sequence."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.train.errors import TrainingError
from short_runs import BATCH_TOKENS, CONTEXT, STEPS, discard, short_engine


class BadGradient(torch.autograd.Function):
    """The identity, with a gradient that is not finite for the sequences marked in `bad`."""

    @staticmethod
    def forward(context: Any, x: Tensor, bad: Tensor) -> Tensor:
        context.bad = bad
        return x.clone()

    @staticmethod
    def backward(context: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return torch.where(context.bad, math.inf * grad.sign(), grad), None


def test_a_gradient_that_is_not_finite_is_traced_to_its_sequence(shallow: ModelConfig, dataset: Dataset):
    engine = short_engine(shallow, dataset.tokens("train"), micro_batch_tokens=CONTEXT)
    batches = Batches(dataset.tokens("train"), CONTEXT, seed=0)
    inputs, _ = batches.at(3 * BATCH_TOKENS, BATCH_TOKENS, CONTEXT)
    embed = engine.model.embed
    engine.model.embed = lambda tokens, branches: (  # type: ignore[method-assign]
        BadGradient.apply(embed(tokens)[0], (tokens == inputs[1]).all(dim=1).view(-1, 1, 1)),
    )
    with pytest.raises(TrainingError) as raised:
        engine.run(STEPS * BATCH_TOKENS, discard)
    message = str(raised.value)
    start = batches.start(7 * CONTEXT)
    for words in (
        "step 4 (96 tokens, full depth)",
        "sequence 2 of 2 (micro-batch 2 of 2",
        f"{start:,} on",
        "gradient",
    ):
        assert words in message, message
    assert "loss nan" not in message and engine.progress.step == 3
    assert all(weight.isfinite().all() for weight in engine.state().weights.values())
