"""The grid of step positions: the one place where tokens are rounded to whole steps."""

import math


def round_to_steps(tokens: float, batch_tokens: int) -> int:
    """Whole steps nearest to so many tokens, halves up: the one place where tokens are rounded."""
    return math.floor(tokens / batch_tokens + 0.5)
