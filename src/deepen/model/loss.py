"""The head and its cross-entropy as one operation, in chunks of rows: the full logits are never in memory.

The forward pass already computes the gradients of the loss, while a chunk's probabilities p are available:

    for each chunk of rows:
        p = softmax(x @ weight.T);  loss += sum(-log p[target])
        p[target] -= 1              # the gradient of the logits, without the mean's 1 / n
        grad_x = p @ weight;  grad_weight += p.T @ x

The backward pass only multiplies them by the gradient that it receives, over n. `logit_gradients.py` has two ways
to compute the two lines about p.

On a GPU, bf16 copies of the head's matrix are padded with zeros to a multiple of 64 rows, and the logits of the
padding are ignored: a vocabulary of 50,257 would take slow kernels in all three products. Parameter, gradient and
results are those of the vocabulary.

Shapes: n tokens, d width, v vocabulary, w vocabulary with padding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deepen.model.chunks import VOCAB_MULTIPLE, chunk_rows, even_chunk_rows, round_up
from deepen.model.logit_gradients import STEPWISE, LogitGradients

MAX_TILE_CPU = 1024
"""Tokens of the vocabulary whose logits `token_scores` makes at a time on a CPU, so that they fit its cache."""


def mean_loss(
    x_nd: Tensor,
    weight_vd: Tensor,
    targets_n: Tensor,
    rows: int | None = None,
    *,
    logit_gradients: LogitGradients = STEPWISE,
    vocab_multiple: int | None = None,
) -> Tensor:
    """Cross-entropy of the logits x · weightᵀ, in nats per token; equals `F.cross_entropy` up to rounding.

    Matrix products follow autocast; the softmax is fp32 or better.

    Args:
        x_nd: the normalized output of the last block.
        weight_vd: the head's matrix.
        targets_n: the target token of each row.
        rows: rows per chunk, or the most of even chunks; by default what suits the device.
        logit_gradients: how the gradient of a chunk's logits is computed.
        vocab_multiple: a multiple to which the head is padded; by default what suits the device.
    """
    loss: Tensor = _MeanLoss.apply(x_nd, weight_vd, targets_n, rows, logit_gradients, vocab_multiple)  # type: ignore[no-untyped-call]
    return loss


def token_scores(
    x_nd: Tensor,
    weight_vd: Tensor,
    targets_n: Tensor,
    rows: int | None = None,
    *,
    vocab_multiple: int | None = None,
) -> Tensor:
    """The cross-entropy of each token, and 1 where no other token is likelier, else 0: (n, 2), without gradients.

    Arguments as in `mean_loss`.
    """
    with torch.no_grad():
        dtype, gpu, vocab = _product_dtype(weight_vd), x_nd.device.type != "cpu", len(weight_vd)
        x, weight = x_nd.to(dtype), _pad_head(weight_vd, dtype, vocab_multiple)
        tile = len(weight) if gpu else MAX_TILE_CPU
        rows = rows or chunk_rows(min(tile, vocab), gpu=gpu)
        parts = [slice(begin, begin + rows) for begin in range(0, len(x), rows)]
        scores = [_score_rows(x[part], weight, targets_n[part], vocab, tile) for part in parts]
        return torch.cat(scores) if scores else torch.zeros(0, 2, device=x.device)


def _score_rows(x_nd: Tensor, weight_wd: Tensor, targets_n: Tensor, vocab: int, tile: int) -> Tensor:
    """`token_scores` of some rows, whose logits are made and summed up tile by tile of the vocabulary.

    As `top` rises from tile to tile, what was summed before is scaled to the new one.
    """
    kind = torch.promote_types(x_nd.dtype, torch.float32)
    top_n = torch.full((len(x_nd),), -torch.inf, dtype=kind, device=x_nd.device)
    sum_n, target_n = torch.zeros_like(top_n), torch.zeros_like(top_n)
    for begin in range(0, vocab, tile):
        with torch.autocast(x_nd.device.type, enabled=False):
            logits_nv = (x_nd @ weight_wd[begin : begin + tile].T)[:, : vocab - begin].to(kind)
        index_n = targets_n - begin
        is_here_n = (index_n >= 0) & (index_n < logits_nv.shape[1])
        found_n = logits_nv.gather(1, (index_n * is_here_n)[:, None]).squeeze(1)
        target_n = torch.where(is_here_n, found_n, target_n)
        before_n, top_n = top_n, torch.maximum(top_n, logits_nv.amax(dim=1))
        sum_n = sum_n * (before_n - top_n).exp() + logits_nv.sub_(top_n[:, None]).exp_().sum(dim=1)
    return torch.stack((sum_n.log() - (target_n - top_n), (target_n == top_n).to(kind)), dim=1)


def _product_dtype(weight_vd: Tensor) -> torch.dtype:
    """The type of the matrix products: autocast's, or that of the weights."""
    device = weight_vd.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_vd.dtype


def _pad_head(weight_vd: Tensor, dtype: torch.dtype, multiple: int | None) -> Tensor:
    """The head's matrix in the type of the products, (w, d), made once for all chunks."""
    if multiple is None:
        multiple = VOCAB_MULTIPLE if weight_vd.device.type == "cuda" and dtype.itemsize == 2 else 1
    return _cast_and_pad(weight_vd, dtype, round_up(len(weight_vd), multiple))


def _cast_and_pad(matrix: Tensor, dtype: torch.dtype, rows: int) -> Tensor:
    """A matrix in another type, with rows of zeros at its end; itself if nothing changes."""
    if len(matrix) == rows:
        return matrix.to(dtype)
    padded = matrix.new_zeros(rows, *matrix.shape[1:], dtype=dtype)
    padded[: len(matrix)] = matrix
    return padded


def _add_product(sum_wd: Tensor, left_nw: Tensor, right_nd: Tensor) -> None:
    """sum += leftᵀ · right, added in the sum's type wherever torch has a product that does."""
    if sum_wd.dtype == left_nw.dtype:
        sum_wd.addmm_(left_nw.T, right_nd)
    elif sum_wd.device.type == "cuda" and sum_wd.dtype == torch.float32:  # not on a CPU, as of torch 2.13
        torch.addmm(sum_wd, left_nw.T, right_nd, out_dtype=torch.float32, out=sum_wd)
    else:
        sum_wd += left_nw.T @ right_nd


class _MeanLoss(torch.autograd.Function):
    """The mean loss. Its forward pass also computes the gradients that are needed."""

    @staticmethod
    def forward(
        ctx: Any,
        x_nd: Tensor,
        weight_vd: Tensor,
        targets_n: Tensor,
        rows: int | None,
        logit_gradients: LogitGradients,
        vocab_multiple: int | None,
    ) -> Tensor:
        n, vocab, dtype = len(x_nd), len(weight_vd), _product_dtype(weight_vd)
        weight_wd = _pad_head(weight_vd, dtype, vocab_multiple)
        size = rows or chunk_rows(vocab, gpu=x_nd.device.type != "cpu")
        if logit_gradients.even_chunks:
            size = even_chunk_rows(n, size)
            targets_n = F.pad(targets_n, (0, round_up(n, size) - n), value=-1)
        x = _cast_and_pad(x_nd, dtype, len(targets_n))
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        grad_x_nd = torch.empty_like(x_nd) if needs_x else None
        grad_weight_wd = torch.zeros_like(weight_wd, dtype=weight_vd.dtype) if needs_weight else None
        total = torch.zeros((), dtype=torch.promote_types(x_nd.dtype, torch.float32), device=x_nd.device)
        for begin in range(0, len(x), size):
            part = slice(begin, begin + size)
            with torch.autocast(x_nd.device.type, enabled=False):
                losses, grad_nw = logit_gradients(x[part] @ weight_wd.T, targets_n[part], vocab)
                total += losses
                if grad_x_nd is not None:
                    grad_x_nd[part] = (grad_nw @ weight_wd)[: n - begin]
                if grad_weight_wd is not None:
                    _add_product(grad_weight_wd, grad_nw, x[part])
            del grad_nw  # so that only one chunk is in memory
        if grad_weight_wd is not None:
            grad_weight_wd.resize_(weight_vd.shape)  # without the padding; a view could not be added to in place
        ctx.gradients, ctx.rows = (grad_x_nd, grad_weight_wd), n
        return total / n

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss were scaled in place: compute the loss again")
        grad_x_nd, grad_weight_vd = ctx.gradients
        ctx.gradients = None
        for gradient in (grad_x_nd, grad_weight_vd):
            if gradient is not None:
                gradient.mul_(grad / ctx.rows)
        return grad_x_nd, grad_weight_vd, None, None, None, None
