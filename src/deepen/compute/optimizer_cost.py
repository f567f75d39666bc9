"""What an optimizer costs, in the numbers that the memory model and the ledger use."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerCost:
    """Costs of an optimizer per trained parameter.

    Args:
        state_bytes: bytes kept between steps; 8 for two fp32 moments.
        working_bytes: bytes needed during a step, for one parameter tensor at a time, so the largest tensor
        counts.
        flops: pointwise FLOPs of one update, without clipping.
    """

    state_bytes: int
    working_bytes: int = 0
    flops: int


ADAMW_COST = OptimizerCost(state_bytes=8, flops=14)
"""AdamW with fp32 moments. FLOPs: weight decay 1, first moment 3, second moment 4, denominator 3 (root, bias
correction, epsilon), update 3."""
