"""Validation loss over a fixed set of tokens."""

import math

import numpy as np
import torch

from deepen.data.shards import Tokens
from deepen.evaluate.scoring import LanguageModel
from deepen.evaluate.task import Score

VALIDATION_BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}
"""Tokens of a batch per process, by kind of device."""


@torch.no_grad()
def validation_loss(
    model: LanguageModel,
    tokens: Tokens,
    limit: int,
    context: int,
    *,
    device: torch.device,
    batch_tokens: int = VALIDATION_BATCH_TOKENS["cpu"],
) -> Score:
    """The mean loss in nats per token over the first `limit` tokens, in full windows of `context`.

    `tokens`, `limit` and `context` fix the windows, so every arm, depth and device is measured on the same ones.
    Means are computed in fp64, losses in the model's precision. The standard error is over windows.

    Args:
        model: computes the losses.
        tokens: the validation split.
        limit, context: in tokens; `limit` is at least `context`.
        device: device of the batches.
        batch_tokens: tokens of a batch.
    """
    windows = min(limit, len(tokens) - 1) // context
    rows_per_batch = max(1, batch_tokens // context)
    losses = []
    for first in range(0, windows, rows_per_batch):
        last = min(first + rows_per_batch, windows)
        rows = [tokens.window(index * context, context + 1) for index in range(first, last)]
        rows_bt = torch.from_numpy(np.stack(rows).astype(np.int64)).to(device)
        losses.append(model.token_scores(rows_bt[:, :-1], rows_bt[:, 1:])[..., 0].contiguous().mean(dim=1).cpu())
    losses_w = torch.cat(losses).double()
    stderr = float(losses_w.std() / math.sqrt(windows)) if windows > 1 else 0.0
    return Score(value=float(losses_w.mean()), stderr=stderr, n=windows * context)
