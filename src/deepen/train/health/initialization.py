"""Check the weights, activations and loss of a model before its first step."""

import math

import torch
from torch import Tensor

from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.model.loss import token_scores
from deepen.train.errors import TrainingError
from deepen.train.placement import Placement

LOSS_TOLERANCE = 0.5
"""Nats by which the first loss may differ from `expected_loss`."""

MAX_DEVIATIONS = 8.0
"""The largest value in a fresh matrix, in units of `init_std`. The largest of 10¹¹ normal numbers is 6.8."""

MAX_VECTOR = 2.0
"""The largest value in a fresh norm or bias, which begin at 1 and 0."""

MAX_ACTIVATION_RMS = 10.0
"""The largest root mean square of the residual stream, if norms come first."""

_REMEDY = "check `init_std` of the model, and what was changed in its network"


@torch.no_grad()
def check_initialization(model: Decoder, inputs_bt: Tensor, targets_bt: Tensor, placement: Placement) -> None:
    """Raise a TrainingError unless weights, activations and loss are in the range of fresh weights.

    It runs one forward pass without gradients, draws no random numbers and does not change the model.

    Args:
        model: a model before its first step.
        inputs_bt, targets_bt: a few sequences, on the model's device; the same ones on every process.
        placement: how the processes hold the model.
    """
    _check_weights(model, placement)
    with placement.gathered(model):
        x_btd = _check_activations(model, inputs_bt, placement)
        scores_n2 = token_scores(model.norm(x_btd).flatten(0, 1), model.head_weight, targets_bt.flatten())
    loss = scores_n2[:, 0].mean().item()
    expected = expected_loss(model.config, _rms(x_btd))
    if not abs(loss - expected) <= LOSS_TOLERANCE:
        raise _error(
            f"the loss before the first step is {loss:.3f} nats, but fresh weights with a vocabulary of "
            f"{model.config.vocab:,} give {expected:.3f} ± {LOSS_TOLERANCE}"
        )


def _check_weights(model: Decoder, placement: Placement) -> None:
    """Check that all weights are finite and within their limits, and that no matrix is close to zero."""
    config = model.config
    min_rms = config.init_std / math.sqrt(2 * config.depth) / 2
    for name, parameter in model.named_parameters():
        weight = placement.full(parameter)
        is_matrix = weight.dim() >= 2
        largest, limit = weight.abs().max().item(), MAX_DEVIATIONS * config.init_std if is_matrix else MAX_VECTOR
        if not largest <= limit:  # nan is not
            raise _error(f"fresh weight {name} goes up to {largest:.3g}, beyond {limit:.3g}")
        if is_matrix and (rms := _rms(weight)) < min_rms:
            raise _error(f"fresh weight {name} has root mean square {rms:.3g}, below {min_rms:.3g}")


def _check_activations(model: Decoder, inputs_bt: Tensor, placement: Placement) -> Tensor:
    """Check the residual stream after every block; returns it after the last, (b, t, d).

    Its root mean square must be within half of `init_std` and MAX_ACTIVATION_RMS. Measured on the presets up to
    llama-1b it is 1 to 33 times `init_std`, and 0.19 to 0.66 at the top. Where norms come last, each block adds
    two rows of root mean square 1, so it is √(2 · blocks); twice as much is allowed.
    """
    min_rms = 0.5 * model.config.init_std
    is_pre_norm = model.config.norm_position == "pre"
    max_rms = MAX_ACTIVATION_RMS if is_pre_norm else 2 * math.sqrt(2 * len(model.blocks))
    x_btd, *shared = model.embed(inputs_bt)
    for index, block in enumerate(model.blocks):
        with placement.gathered(block):
            # Not __call__: a compiled block would be compiled for this alone.
            x_btd = block.forward(x_btd, *shared)
        rms = _rms(x_btd)
        if not min_rms <= rms <= max_rms:
            raise _error(
                f"activations after blocks.{index} have root mean square {rms:.3g} before the first step, "
                f"outside {min_rms:.3g} to {max_rms:.3g}"
            )
    return x_btd


def expected_loss(config: ModelConfig, top_rms: float) -> float:
    """The loss of fresh weights, in nats per token.

    A uniform prediction costs ln V. Fresh logits are normal with variance width·`init_std`², which adds half that
    variance: 0.15 nats on most presets and 1.6 on llama-70b. The addition is capped at 2 nats; beyond that,
    `init_std` is wrong.

    A tied head gives the input token itself the logit width·`init_std`² / `top_rms`. Without blocks this adds 0.6
    nats on gpt2-124m.

    On Zipf-distributed tokens, presets from nano to llama-1b of every depth differ from this by at most 0.12 nats,
    except for gpt2-124m of depth 0, which differs by 0.2.

    Args:
        config: the model.
        top_rms: root mean square of the residual stream after the last block.
    """
    variance = config.width * config.init_std**2
    expected = math.log(config.vocab) + min(variance / 2, 2.0)
    if config.tied:  # log(V·e^(variance / 2) + e^(variance / rms))
        expected += math.log1p(math.exp(min(variance / top_rms - expected, 100.0)))
    return expected


def _error(problem: str) -> TrainingError:
    return TrainingError(f"{problem}: nothing was trained", remedy=_REMEDY)


def _rms(tensor: Tensor) -> float:
    return tensor.float().square().mean().sqrt().item()
