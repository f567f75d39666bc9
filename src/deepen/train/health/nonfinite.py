"""Locate the source of a loss or gradient that is not finite."""

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
    """Describe which weight, or else which sequence of a batch, first gave a number that is not finite.

    It computes the batch again by micro-batches, then the first micro-batch that fails by sequences. That is slow,
    but the run ends here.

    Args:
        model: the model; the processes of a run may hold shards of it.
        starts: index in the training data of each sequence's first token.
        micro_batch_rows: sequences of a micro-batch.
        backward: computes the gradients of some sequences of the batch, and returns their loss.
        placement: how the processes hold the model.
    """
    for name, parameter in model.named_parameters():
        if not _is_finite(parameter, placement):
            return f"weight {name} is not finite already"

    def find_nonfinite(rows: slice) -> str:
        """What is not finite when these sequences are computed; empty if everything is finite."""
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
    """Whether all numbers of a tensor are finite, in the shards of every process."""
    return not placement.full(tensor.isfinite().logical_not().sum()).item()
