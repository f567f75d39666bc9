"""Validation loss over a fixed set of tokens."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from deepen.data.shards import Tokens


@torch.no_grad()
def validation_loss(
    model: nn.Module, tokens: Tokens, limit: int, context: int, *, device: torch.device, batch_tokens: int = 4096
) -> tuple[float, float, int]:
    """Mean loss in nats per token over the first `limit` tokens, in whole windows, without autocast.

    The set is fixed by `tokens`, `limit` and `context`: every arm, depth and device sees the same windows.

    Returns:
        Loss, its standard error over windows, and the number of predicted tokens.
    """
    windows = min(limit, len(tokens) - 1) // context
    batch_rows = max(1, batch_tokens // context)  # all logits of a batch are in memory at once
    per_window = []
    for begin in range(0, windows, batch_rows):
        starts = range(begin * context, min(begin + batch_rows, windows) * context, context)
        rows_bt = torch.from_numpy(np.stack([tokens.window(s, context + 1) for s in starts]).astype(np.int64))
        rows_bt = rows_bt.to(device)
        logits_btv = model(rows_bt[:, :-1])
        losses = F.cross_entropy(logits_btv.float().flatten(0, 1), rows_bt[:, 1:].flatten(), reduction="none")
        per_window.append(losses.view(len(rows_bt), context).mean(dim=1).cpu())
    losses_w = torch.cat(per_window).double()
    stderr = float(losses_w.std() / math.sqrt(windows)) if windows > 1 else 0.0
    return float(losses_w.mean()), stderr, windows * context
