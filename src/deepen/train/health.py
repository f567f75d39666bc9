"""The health of a run: losses that jump, weights and activations that begin wrong, and where a nan came from."""

import math
import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from deepen.model.decoder import Decoder
from deepen.model.loss import token_losses
from deepen.train.distributed.placement import whole

WINDOW = 64
"""Losses that a step's loss is compared with. They are part of the state, so that a cut changes nothing."""

MIN_LOSSES = WINDOW // 2
"""Losses there must be, from the beginning or from a growth on, before any loss is called a spike."""

SPIKE = 7.0
"""Deviations above the median from which a loss is a spike. Of 83,771 steps of our own runs on nano models
(batches of 1,024 tokens, two-phase, staged, one-shot, full; peak rates up to 1.6e-2) the highest stood 6.2
above and the next 4.6. OLMo-core's SkipStepOptimizer calls 6 standard deviations a spike."""

LOSS_TOLERANCE = 0.5
"""Nats by which the first loss may miss what is expected of fresh weights (see `check_initialization`)."""

MIN_DEVIATION = 1e-3
"""Deviation of the losses, as a share of their median, below which they count as no quieter."""


class TrainingError(RuntimeError):
    """A run that cannot go on; the message says where it stopped, why, and what to do."""


def spike_score(losses: Sequence[float], loss: float) -> float:
    """How many deviations a loss stands above the median of those before it; 0.0 while they are too few.

    Deviations are 1.4826 · the median absolute deviation, the standard deviation where losses are normal.
    Medians, because neither the spikes before this one nor the slope of the curve widen them much; and where a
    loss has risen for good, what was a spike is the new median after half a window.

    Args:
        losses: the latest losses in nats per token, at most WINDOW of them.
        loss: of this step.
    """
    if len(losses) < MIN_LOSSES:
        return 0.0
    median = statistics.median(losses)
    deviation = 1.4826 * statistics.median(abs(each - median) for each in losses)
    return (loss - median) / max(deviation, MIN_DEVIATION * abs(median))


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; of a tensor that many processes share, whether they are on every one."""
    return not whole(tensor.isfinite().logical_not().sum()).item()


def where_not_finite(
    model: nn.Module, starts: Sequence[int], size: int, backward: Callable[[int, int], float]
) -> str:
    """Which weight, or else which sequence of a batch, first gave a loss or gradient that is not finite, in words.

    It computes the batch anew, micro-batch by micro-batch and then sequence by sequence: slow, for a run that
    ends here.

    Args:
        starts: where in the data each sequence of the batch begins, in tokens.
        size: sequences of a micro-batch.
        backward: leaves the gradients of the sequences from one number up to another; returns their loss.
    """
    for name, parameter in model.named_parameters():
        if not is_finite(parameter):
            return f"weight {name} is not finite already"

    def breaks(begin: int, end: int) -> str:
        loss = backward(begin, end)
        if not math.isfinite(loss):
            return "the loss"
        gradients = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
        return next((f"the gradient of {name}" for name, grad in gradients if not is_finite(grad)), "")

    rows = len(starts)
    micro_batches = range(0, rows, size)
    for number, begin in enumerate(micro_batches, start=1):
        if what := breaks(begin, min(begin + size, rows)):
            micro_batch = f"micro-batch {number} of {len(micro_batches)}"
            for row in range(begin, min(begin + size, rows)):
                if what_alone := breaks(row, row + 1):
                    data = f"tokens from {starts[row]:,} on of the training data"
                    return f"first was {what_alone} of sequence {row + 1} of {rows} ({micro_batch}; {data})"
            return f"first was {what} of {micro_batch}, though of no sequence alone"
    return "it was no micro-batch alone, only their sum"


@torch.no_grad()
def check_initialization(model: Decoder, inputs_bt: Tensor, targets_bt: Tensor) -> None:
    """Raise a TrainingError unless a model that was never trained is as fresh weights should be.

    Weights: all finite; matrices within 8·`init_std` (the largest of 10¹¹ normal numbers is at 6.8) and not all
    but zero; vectors within 2. Activations: the residual stream's root mean square after every block within
    0.5·`init_std` and 10 (measured on the presets up to llama-1b: 1 to 33·`init_std`, 0.19 to 0.66 at the top).

    Loss: within LOSS_TOLERANCE of what knowing nothing costs, ln V, and what `init_std` adds to it. Logits are
    normal with variance width·`init_std`², which costs half of that: 0.15 nats on most presets, 1.6 on llama-70b,
    and above 2 `init_std` is what is off. A tied head gives the token just read the logit width·`init_std`² / rms,
    which matters where no block lies between: 0.6 nats on gpt2-124m. Measured so, on Zipf tokens, presets from
    nano to llama-1b and depths from 0 on miss what is expected by 0.12 nats at most, gpt2-124m of depth 0 by 0.2.

    It is one forward pass without gradients. It draws no random number and leaves no trace in the model.

    Args:
        inputs_bt, targets_bt: a few sequences, on the model's device.
    """
    config = model.config
    remedy = "nothing was trained; look at the model's init_std, or at what was changed in its network"
    for name, weight in model.named_parameters():
        largest, limit = weight.abs().max().item(), 8 * config.init_std if weight.dim() >= 2 else 2.0
        if not largest <= limit:
            raise TrainingError(f"fresh weight {name} goes up to {largest:.3g}, beyond {limit:.3g}: {remedy}")
        least = config.init_std / math.sqrt(2 * config.depth) / 2
        if weight.dim() >= 2 and (rms := _rms(weight)) < least:
            raise TrainingError(f"fresh weight {name} has root mean square {rms:.3g}, below {least:.3g}: {remedy}")
    x_btd, *shared = model.embed(inputs_bt)
    for index, block in enumerate(model.blocks):
        x_btd = block.forward(x_btd, *shared)  # not __call__: a compiled block would be compiled for this alone
        rms, low = _rms(x_btd), 0.5 * config.init_std
        if not low <= rms <= 10:
            raise TrainingError(
                f"activations after blocks.{index} have root mean square {rms:.3g} before the first step, "
                f"outside {low:.3g} to 10: {remedy}"
            )
    loss = token_losses(model.norm(x_btd).flatten(0, 1), model.head_weight, targets_bt.flatten()).mean().item()
    spread = config.width * config.init_std**2
    expected = math.log(config.vocab) + min(spread / 2, 2.0)
    if config.tied:  # log(V·e^(spread / 2) + e^(spread / rms))
        expected += math.log1p(math.exp(min(spread / _rms(x_btd) - expected, 100.0)))
    if not abs(loss - expected) <= LOSS_TOLERANCE:
        raise TrainingError(
            f"the loss before the first step is {loss:.3f} nats, but fresh weights that know nothing of "
            f"{config.vocab:,} tokens give {expected:.3f} ± {LOSS_TOLERANCE}: {remedy}"
        )


def _rms(tensor: Tensor) -> float:
    return tensor.float().square().mean().sqrt().item()
