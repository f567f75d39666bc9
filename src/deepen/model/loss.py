"""The head and its cross-entropy as one operation, in chunks of rows: the full logits are never in memory.

The forward pass already computes the gradients of the loss, while a chunk's probabilities p are available:

    for each chunk of rows:
        p = softmax(x @ weight.T);  loss += sum(-log p[target])
        p[target] -= 1              # the gradient of the logits, without the mean's 1 / n
        grad_x = p @ weight;  grad_weight += p.T @ x

The backward pass only multiplies them by the gradient that it receives, over n.

Shapes: n tokens, d width, v vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from deepen.model.chunks import chunk_rows

MAX_TILE_CPU = 1024
"""Tokens of the vocabulary whose logits `token_scores` makes at a time on a CPU, so that they fit its cache."""


def mean_loss(x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor, rows: int | None = None) -> Tensor:
    """Cross-entropy of the logits x · weightᵀ, in nats per token; equals `F.cross_entropy` up to rounding.

    Matrix products follow autocast; the softmax is fp32 or better.

    Args:
        x_nd: the normalized output of the last block.
        weight_vd: the head's matrix.
        targets_n: the target token of each row.
        rows: rows per chunk; by default what suits the device.
    """
    loss: Tensor = _MeanLoss.apply(x_nd, weight_vd, targets_n, rows)  # type: ignore[no-untyped-call]
    return loss


def token_scores(x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor, rows: int | None = None) -> Tensor:
    """The cross-entropy of each token, and 1 where no other token is likelier, else 0: (n, 2), without gradients.

    Arguments as in `mean_loss`.
    """
    with torch.no_grad():
        x, weight = _operands(x_nd, weight_vd)
        gpu = x.device.type != "cpu"
        tile = len(weight) if gpu else MAX_TILE_CPU
        rows = rows or chunk_rows(min(tile, len(weight)), gpu=gpu)
        parts = [slice(begin, begin + rows) for begin in range(0, len(x), rows)]
        scores = [_score_rows(x[part], weight, targets_n[part], tile) for part in parts]
        return torch.cat(scores) if scores else torch.zeros(0, 2, device=x.device)


def _score_rows(x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor, tile: int) -> Tensor:
    """`token_scores` of some rows, whose logits are made and summed up tile by tile of the vocabulary.

    As `top` rises from tile to tile, what was summed before is scaled to the new one.
    """
    kind = torch.promote_types(x_nd.dtype, torch.float32)
    top_n = torch.full((len(x_nd),), -torch.inf, dtype=kind, device=x_nd.device)
    sum_n, target_n = torch.zeros_like(top_n), torch.zeros_like(top_n)
    for begin in range(0, len(weight_vd), tile):
        with torch.autocast(x_nd.device.type, enabled=False):
            logits_nv = (x_nd @ weight_vd[begin : begin + tile].T).to(kind)
        index_n = targets_n - begin
        is_here_n = (index_n >= 0) & (index_n < logits_nv.shape[1])
        found_n = logits_nv.gather(1, (index_n * is_here_n)[:, None]).squeeze(1)
        target_n = torch.where(is_here_n, found_n, target_n)
        before_n, top_n = top_n, torch.maximum(top_n, logits_nv.amax(dim=1))
        sum_n = sum_n * (before_n - top_n).exp() + logits_nv.sub_(top_n[:, None]).exp_().sum(dim=1)
    return torch.stack((sum_n.log() - (target_n - top_n), (target_n == top_n).to(kind)), dim=1)


def _operands(x_nd: Tensor, weight_vd: Tensor) -> tuple[Tensor, Tensor]:
    """The operands of the matrix products; under autocast copies in its type, made once for all chunks."""
    device = x_nd.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_vd.dtype
    return x_nd.to(dtype), weight_vd.to(dtype)


def _chunks(
    x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor, rows: int | None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For each chunk, its rows, their losses, and their probabilities; the caller can overwrite these."""
    if rows is None:
        rows = chunk_rows(len(weight_vd), gpu=x_nd.device.type != "cpu")
    for begin in range(0, len(x_nd), rows):
        part = slice(begin, begin + rows)
        with torch.autocast(x_nd.device.type, enabled=False):
            p_nv = x_nd[part] @ weight_vd.T
        p_nv = p_nv.to(torch.promote_types(p_nv.dtype, torch.float32))
        torch.log_softmax(p_nv, dim=1, out=p_nv)
        losses_n = -p_nv.gather(1, targets_n[part, None]).squeeze(1)
        yield part, losses_n, p_nv.exp_()
        del p_nv  # so that only one chunk is in memory


class _MeanLoss(torch.autograd.Function):
    """The mean loss. Its forward pass also computes the gradients that are needed."""

    @staticmethod
    def forward(ctx: Any, x_nd: Tensor, weight_vd: Tensor, targets_n: Tensor, rows: int | None) -> Tensor:
        x, weight = _operands(x_nd, weight_vd)
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        grad_x_nd = torch.empty_like(x_nd) if needs_x else None
        grad_weight_vd = torch.zeros_like(weight_vd) if needs_weight else None
        total = torch.zeros((), dtype=torch.promote_types(x_nd.dtype, torch.float32), device=x_nd.device)
        minus_one_n1 = total.new_full((len(x_nd), 1), -1.0)
        for part, losses_n, p_nv in _chunks(x, weight, targets_n, rows):
            total += losses_n.sum()
            p_nv.scatter_add_(1, targets_n[part, None], minus_one_n1[part])
            grad_nv = p_nv.to(weight.dtype)
            with torch.autocast(x_nd.device.type, enabled=False):
                if grad_x_nd is not None:
                    grad_x_nd[part] = grad_nv @ weight
                if grad_weight_vd is not None and grad_weight_vd.dtype == grad_nv.dtype:
                    grad_weight_vd.addmm_(grad_nv.T, x[part])
                elif grad_weight_vd is not None:
                    grad_weight_vd += grad_nv.T @ x[part]
            del p_nv, grad_nv
        ctx.gradients, ctx.rows = (grad_x_nd, grad_weight_vd), len(x_nd)
        return total / len(x_nd)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_x_nd, grad_weight_vd = ctx.gradients
        ctx.gradients = None, None  # scaled in place, so a second backward pass is not possible
        for gradient in (grad_x_nd, grad_weight_vd):
            if gradient is not None:
                gradient.mul_(grad / ctx.rows)
        return grad_x_nd, grad_weight_vd, None, None
