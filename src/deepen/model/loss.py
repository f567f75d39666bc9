"""The head and its cross-entropy in one, a few rows at a time, so that the logits are never whole in memory.

Shapes: n tokens, d width, v vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from deepen.model.config import chunk_rows


def mean_loss(x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor) -> Tensor:
    """Cross-entropy of the logits x · weightᵀ, in nats a token, as `F.cross_entropy` gives it but for rounding.

    Gradients are made on the way forward, so the logits are computed once. Matrix products follow autocast;
    the softmax is fp32 or better.
    """
    loss: Tensor = _MeanLoss.apply(x_nd, weight_vd, targets_n)  # type: ignore[no-untyped-call]
    return loss


def token_losses(x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor) -> Tensor:
    """The same for every token, (n,), without gradients."""
    with torch.no_grad():
        return torch.cat([losses_n for _, losses_n, _ in _chunks(*_operands(x_nd, weight_vd), targets_n)])


def _operands(x_nd: Tensor, weight_vd: Tensor) -> tuple[Tensor, Tensor]:
    """What is multiplied: under autocast, copies in its type, made once and not for every chunk."""
    kind = x_nd.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight_vd.dtype
    return x_nd.to(dtype), weight_vd.to(dtype)


def _chunks(x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For some rows at a time: which, their losses, and their probabilities, to be overwritten at will."""
    rows = chunk_rows(len(weight_vd), gpu=x_nd.device.type != "cpu")
    for begin in range(0, len(x_nd), rows):
        part = slice(begin, begin + rows)
        with torch.autocast(x_nd.device.type, enabled=False):
            p_nv = x_nd[part] @ weight_vd.T
        p_nv = p_nv.to(torch.promote_types(p_nv.dtype, torch.float32))
        p_nv.sub_(p_nv.amax(dim=1, keepdim=True))
        picked_n1 = p_nv.gather(1, targets_n[part, None])
        sum_n1 = p_nv.exp_().sum(dim=1, keepdim=True)
        yield part, (sum_n1.log() - picked_n1).squeeze(1), p_nv.div_(sum_n1)
        del p_nv  # before the next is made


class _MeanLoss(torch.autograd.Function):
    """The loss, and its gradients where they are wanted, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor) -> Tensor:
        x, weight = _operands(x_nd, weight_vd)
        wants_x, wants_weight, _ = ctx.needs_input_grad
        grad_x_nd = torch.empty_like(x_nd) if wants_x else None
        grad_weight_vd = torch.zeros_like(weight_vd) if wants_weight else None
        total = torch.zeros((), dtype=torch.promote_types(x_nd.dtype, torch.float32), device=x_nd.device)
        for part, losses_n, p_nv in _chunks(x, weight, targets_n):
            total += losses_n.sum()
            p_nv.scatter_add_(1, targets_n[part, None], p_nv.new_full((len(p_nv), 1), -1.0))
            grad_nv = p_nv.div_(len(x_nd)).to(weight.dtype)
            with torch.autocast(x_nd.device.type, enabled=False):
                if grad_x_nd is not None:
                    grad_x_nd[part] = grad_nv @ weight
                if grad_weight_vd is not None and grad_weight_vd.dtype == grad_nv.dtype:
                    grad_weight_vd.addmm_(grad_nv.T, x[part])
                elif grad_weight_vd is not None:
                    grad_weight_vd += grad_nv.T @ x[part]
            del p_nv, grad_nv
        ctx.gradients = grad_x_nd, grad_weight_vd
        return total / len(x_nd)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_x_nd, grad_weight_vd = ctx.gradients
        ctx.gradients = None, None  # scaled in place, so there is no second backward pass
        for made in (grad_x_nd, grad_weight_vd):
            if made is not None:
                made.mul_(grad)
        return grad_x_nd, grad_weight_vd, None
