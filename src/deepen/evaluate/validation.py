"""Validation loss over a fixed set of tokens."""

import math

import numpy as np
import torch

from deepen.data.shards import Tokens
from deepen.evaluate.scorer import Scorer

VALIDATION_BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}
"""Of one process, by kind of device."""


@torch.no_grad()
def validation_loss(
    model: Scorer,
    tokens: Tokens,
    limit: int,
    context: int,
    *,
    device: torch.device,
    batch_tokens: int = VALIDATION_BATCH_TOKENS["cpu"],
) -> tuple[float, float, int]:
    """Mean loss in nats per token over the first `limit` tokens, in whole windows.

    Means are fp64, losses what the model gives. The set is fixed by `tokens`, `limit` and `context`: every arm,
    depth and device sees the same windows.

    Returns:
        Loss, its standard error over windows, and the number of predicted tokens.
    """
    windows = min(limit, len(tokens) - 1) // context
    batch_rows = max(1, batch_tokens // context)
    per_window = []
    for begin in range(0, windows, batch_rows):
        starts = range(begin * context, min(begin + batch_rows, windows) * context, context)
        rows_bt = torch.from_numpy(np.stack([tokens.window(s, context + 1) for s in starts]).astype(np.int64))
        rows_bt = rows_bt.to(device)
        per_window.append(model.token_losses(rows_bt[:, :-1], rows_bt[:, 1:]).mean(dim=1).cpu())
    losses_w = torch.cat(per_window).double()
    stderr = float(losses_w.std() / math.sqrt(windows)) if windows > 1 else 0.0
    return float(losses_w.mean()), stderr, windows * context
