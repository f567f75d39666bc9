"""The validation loss."""

import pytest
import torch

from deepen.data.shards import Dataset
from deepen.evaluate.validation import validation_loss, window_losses
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig

CPU = torch.device("cpu")


def test_the_validation_set_is_fixed_whatever_the_batch(model: ModelConfig, dataset: Dataset):
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    tokens = dataset.tokens("validation")
    scores = [
        validation_loss(network, tokens, 1000, 16, device=CPU, batch_tokens=16 * rows) for rows in (1, 7, 64)
    ]
    assert {score.n for score in scores} == {62 * 16}
    assert scores[0].value == pytest.approx(scores[1].value, rel=1e-6) == pytest.approx(scores[2].value, rel=1e-6)


def test_the_losses_of_a_part_are_those_of_the_part_alone(model: ModelConfig, dataset: Dataset):
    """Bit for bit, so a curve's point does not depend on whether more text is measured in the same pass."""
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    tokens = dataset.tokens("validation")
    alone = window_losses(network, tokens, 1000, 16, device=CPU, batch_tokens=16 * 7)
    both = window_losses(network, tokens, 1600, 16, device=CPU, batch_tokens=16 * 7, part=1000)
    assert len(alone) == 62 and len(both) == 100
    assert torch.equal(both[:62], alone)
    assert torch.equal(window_losses(network, tokens, 1000, 16, device=CPU, batch_tokens=16 * 7, part=1600), alone)


def test_the_loss_of_an_untrained_model_is_that_of_a_uniform_prediction(model: ModelConfig, dataset: Dataset):
    network = build(model, 2)
    network.load_state_dict(init_weights(model, 2, seed=0))
    score = validation_loss(network, dataset.tokens("validation"), 4096, 16, device=CPU)
    assert score.value == pytest.approx(torch.tensor(model.vocab).log().item(), abs=0.05)
    assert 0 < score.stderr < 0.05
