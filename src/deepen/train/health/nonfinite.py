"""Where a loss or gradient that is not finite came from."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from deepen.train.placement import Placement


def locate_nonfinite(
    model: nn.Module,
    starts: Sequence[int],
    micro_batch_rows: int,
    backward: Callable[[slice], float],
    placement: Placement,
) -> str:
    """Which weight, or else which sequence of a batch, first gave a number that is not finite, in words.

    It computes the batch again, first by micro-batches and then, in the first one that fails, by sequences. That
    is slow, which does not matter to a run that ends here.

    Args:
        model: the model; the processes of a run may hold shards of it.
        starts: where in the data each sequence of the batch begins, in tokens.
        micro_batch_rows: sequences of a micro-batch.
        backward: computes the gradients of some sequences of the batch, and returns their loss.
        placement: how the processes hold the model.
    """
    for name, parameter in model.named_parameters():
        if not _is_finite(parameter, placement):
            return f"weight {name} is not finite already"

    def find_nonfinite(rows: slice) -> str:
        """What is not finite when these sequences are computed; empty where everything is."""
        loss = backward(rows)
        if not math.isfinite(loss):
            return "the loss"
        gradients = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
        names = (name for name, gradient in gradients if not _is_finite(gradient, placement))
        return next((f"the gradient of {name}" for name in names), "")

    rows = len(starts)
    begins = range(0, rows, micro_batch_rows)
    for number, begin in enumerate(begins, start=1):
        end = min(begin + micro_batch_rows, rows)
        found = find_nonfinite(slice(begin, end))
        if not found:
            continue
        micro_batch = f"micro-batch {number} of {len(begins)}"
        for row in range(begin, end):
            if found_alone := find_nonfinite(slice(row, row + 1)):
                data = f"tokens from {starts[row]:,} on of the training data"
                return f"first was {found_alone} of sequence {row + 1} of {rows} ({micro_batch}; {data})"
        return f"first was {found} of {micro_batch}, though of no sequence alone"
    return "it was no micro-batch alone, only their sum"


def _is_finite(tensor: Tensor, placement: Placement) -> bool:
    """Whether all numbers of a tensor are finite, on every process that holds a shard of it."""
    return not placement.full(tensor.isfinite().logical_not().sum()).item()
