"""Validation loss over a fixed set of tokens, window by window.

losses_w = window_losses(model, tokens, 32_768, 1024, device=device)    # 32 windows
score = mean_loss(losses_w, 1024)                                       # Score(value=3.28, stderr=0.02, ...)
"""

import math

import numpy as np
import torch
from torch import Tensor

from deepen.data.shards import Tokens
from deepen.evaluate.scoring import LanguageModel
from deepen.evaluate.task import Score

VALIDATION_BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}
"""Tokens of a batch per process, by kind of device."""


def validation_loss(
    model: LanguageModel,
    tokens: Tokens,
    limit: int,
    context: int,
    *,
    device: torch.device,
    batch_tokens: int = VALIDATION_BATCH_TOKENS["cpu"],
) -> Score:
    """The mean loss in nats per token over the first `limit` tokens: `mean_loss` of `window_losses`."""
    losses_w = window_losses(model, tokens, limit, context, device=device, batch_tokens=batch_tokens)
    return mean_loss(losses_w, context)


@torch.no_grad()
def window_losses(
    model: LanguageModel,
    tokens: Tokens,
    limit: int,
    context: int,
    *,
    device: torch.device,
    batch_tokens: int = VALIDATION_BATCH_TOKENS["cpu"],
    part: int = 0,
) -> Tensor:
    """The mean loss of each full window of `context` in the first `limit` tokens: (w,), fp64, on the CPU.

    `tokens`, `limit` and `context` fix the windows, so every arm, depth and device is measured on the same ones.
    Losses are computed in the model's precision.

    Args:
        model: computes the losses.
        tokens: the validation split.
        limit, context: in tokens; `limit` is at least `context`.
        device: device of the batches.
        batch_tokens: tokens of a batch.
        part: no batch spans this many tokens, so that the losses before it are those of `limit=part`, bit for bit.
    """
    windows, windows_of_part = (min(size, limit, len(tokens) - 1) // context for size in (limit, part))
    rows_per_batch = max(1, batch_tokens // context)
    batches = [
        range(first, min(first + rows_per_batch, end))
        for begin, end in ((0, windows_of_part), (windows_of_part, windows))
        for first in range(begin, end, rows_per_batch)
    ]
    losses = []
    for batch in batches:
        rows = [tokens.window(index * context, context + 1) for index in batch]
        rows_bt = torch.from_numpy(np.stack(rows).astype(np.int64)).to(device)
        losses.append(model.token_scores(rows_bt[:, :-1], rows_bt[:, 1:])[..., 0].contiguous().mean(dim=1).cpu())
    return torch.cat(losses).double()


def mean_loss(losses_w: Tensor, context: int) -> Score:
    """The mean loss in nats per token of windows of `context` tokens; its standard error is over windows."""
    windows = len(losses_w)
    stderr = float(losses_w.std() / math.sqrt(windows)) if windows > 1 else 0.0
    return Score(value=float(losses_w.mean()), stderr=stderr, n=windows * context)
