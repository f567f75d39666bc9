"""From the logits of some rows to the sum of their losses and to its gradient: step by step, or as one kernel.

`Stepwise` runs torch's operations one after the other, in place where they can be. On a CPU the logits of a chunk
stay in the cache between them. On a GPU each one reads and writes them in its memory, 17 passes in all.

`Fused` is one function for `torch.compile`, which makes a reduction and a pointwise kernel of it. With p the
softmax of a row, they read the logits twice and write their gradient, p - [is target], once.

Shapes: n tokens, v vocabulary, w logits per token: v, or more if the head is padded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor


class LogitGradients(Protocol):
    """A way to compute losses and gradients of logits.

    Attributes:
        even_chunks: whether all calls should have one shape. Rows of padding then have the target -1.
    """

    @property
    def even_chunks(self) -> bool: ...  # noqa: D102

    def __call__(self, logits_nw: Tensor, targets_n: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
        """The sum of the rows' cross-entropies in nats, in fp32 or better, and its gradient, (n, w).

        The gradient overwrites the logits. Logits from `vocab` on are ignored; their gradient is 0.
        """


@dataclass(frozen=True, slots=True)
class Stepwise:
    """Torch's operations, one after the other. Logits beyond the vocabulary must be 0."""

    even_chunks: bool = False

    def __call__(self, logits_nw: Tensor, targets_n: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
        """See `LogitGradients`."""
        p_nv = logits_nw[:, :vocab].to(_loss_dtype(logits_nw))
        torch.log_softmax(p_nv, dim=1, out=p_nv)
        losses_n = -p_nv.gather(1, targets_n[:, None]).squeeze(1)
        p_nv.exp_().scatter_add_(1, targets_n[:, None], p_nv.new_full((len(p_nv), 1), -1.0))
        if p_nv.dtype != logits_nw.dtype:
            logits_nw[:, :vocab] = p_nv
        return losses_n.sum(), logits_nw


STEPWISE = Stepwise()


@dataclass(frozen=True, slots=True)
class Fused:
    """One function, compiled for each shape of its input; not compiled it is slow, and only good for tests."""

    compiled: bool = True
    even_chunks: bool = True

    def __call__(self, logits_nw: Tensor, targets_n: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
        """See `LogitGradients`."""
        function = _compiled() if self.compiled else _fused
        return function(logits_nw, targets_n, vocab), logits_nw


@cache
def _compiled() -> Callable[[Tensor, Tensor, int], Tensor]:
    return torch.compile(_fused, dynamic=False)


def _fused(logits_nw: Tensor, targets_n: Tensor, vocab: int) -> Tensor:
    """The sum of losses; the gradient overwrites the logits."""
    x_nw = logits_nw.to(_loss_dtype(logits_nw))
    column_w = torch.arange(x_nw.shape[1], device=x_nw.device)
    if vocab < x_nw.shape[1]:
        x_nw = torch.where(column_w < vocab, x_nw, -torch.inf)
    top_n1 = x_nw.amax(dim=1, keepdim=True)  # Inductor makes one pass of this maximum and the sum
    log_sum_n1 = top_n1 + (x_nw - top_n1).exp().sum(dim=1, keepdim=True).log()
    target_n1, is_used_n1 = targets_n[:, None], targets_n[:, None] >= 0
    target_logit_n1 = logits_nw.gather(1, target_n1.clamp(min=0)).to(x_nw.dtype)
    loss = torch.where(is_used_n1, log_sum_n1 - target_logit_n1, 0.0).sum()
    gradient_nw = (x_nw - log_sum_n1).exp() - (column_w == target_n1).to(x_nw.dtype)
    logits_nw.copy_(torch.where(is_used_n1, gradient_nw, 0.0))
    return loss


def _loss_dtype(logits_nw: Tensor) -> torch.dtype:
    return torch.promote_types(logits_nw.dtype, torch.float32)
