"""Several continuations of one beginning in one row, so that the beginning is computed once.

Each token has the number of its branch. A token sees the tokens of branch 0, the beginning, and those of its own
branch, as far as they stand before it; its position is the number of the other tokens that it sees:

    token       a  b  c  d  e  f         "a b c d" and "a b e f"
    branch      0  0  1  1  2  2
    position    0  1  2  3  2  3

Shapes: b rows, t tokens.
"""

import torch
from torch import Tensor


def visible_tokens(branches_bt: Tensor) -> Tensor:
    """Which tokens (last dimension) each token sees, for all heads: (b, 1, t, t), bool."""
    t = branches_bt.shape[1]
    earlier_tt = torch.ones(t, t, dtype=torch.bool, device=branches_bt.device).tril()
    is_shared_b1t = (branches_bt == 0)[:, None]
    is_same_btt = branches_bt[:, :, None] == branches_bt[:, None]
    return (earlier_tt & (is_shared_b1t | is_same_btt))[:, None]


def branch_positions(visible_b1tt: Tensor, context: int) -> Tensor:
    """The position of each token, (b, t). Those of padding may be beyond the context; they become its last."""
    return (visible_b1tt.sum(dim=-1).squeeze(1) - 1).clamp_(max=context - 1)
