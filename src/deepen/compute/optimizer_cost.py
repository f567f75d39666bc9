"""What an optimizer costs, in the numbers that the memory model and the ledger use."""

from dataclasses import dataclass

MAX_GROUP_BYTES = 1 << 28
"""The most working bytes of an update on a GPU, where many parameters are updated at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrthogonalCost:
    """Costs of an optimizer that orthogonalizes its updates of matrices by Newton–Schulz iterations (Muon).

    Args:
        state_bytes: bytes per parameter kept between steps; 4 for an fp32 momentum.
        flops: pointwise FLOPs per parameter of one update, without clipping.
        iterations: Newton–Schulz iterations of one update.
    """

    state_bytes: int
    flops: int
    iterations: int

    def products(self, rows: int, columns: int) -> int:
        """FLOPs of the matrix products of one update of a matrix.

        For X of m rows and n columns, m ≤ n, an iteration computes XXᵀ, its square, and their product with X.
        """
        short, long = sorted((rows, columns))
        return self.iterations * (2 * short * short * long + 2 * short**3 + 2 * short * short * long)

    def working_bytes(self, rows: int, columns: int) -> int:
        """Bytes that one update of a matrix needs besides its state.

        The update before it is orthogonalized in fp32; in bf16, it before and after an iteration, XXᵀ, and the
        polynomial of that.
        """
        short = min(rows, columns)
        return (4 + 2 + 2) * rows * columns + (2 + 2) * short * short


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerCost:
    """Costs of an optimizer per trained parameter.

    Args:
        name: the optimizer's name in JSON.
        state_bytes: bytes kept between steps; 8 for two fp32 moments.
        working_bytes: bytes needed during a step, for one parameter tensor at a time, so the largest tensor
            counts; on a GPU for as many tensors as stay below `MAX_GROUP_BYTES`.
        flops: pointwise FLOPs of one update, without clipping.
        block_matrices: the costs of the blocks' matrices if they are updated in another way; None if they are not.
    """

    name: str
    state_bytes: int
    working_bytes: int = 0
    flops: int
    block_matrices: OrthogonalCost | None = None

    def total_flops(self, parameters: int, in_block_matrices: int) -> int:
        """Pointwise FLOPs of one update of `parameters` parameters, some of them in the blocks' matrices."""
        other = self if self.block_matrices is None else self.block_matrices
        return self.flops * (parameters - in_block_matrices) + other.flops * in_block_matrices

    def total_state_bytes(self, parameters: int, in_block_matrices: int) -> int:
        """Bytes of their state."""
        other = self if self.block_matrices is None else self.block_matrices
        return self.state_bytes * (parameters - in_block_matrices) + other.state_bytes * in_block_matrices


ADAMW_COST = OptimizerCost(name="adamw", state_bytes=8, flops=14)
"""AdamW with fp32 moments. FLOPs: weight decay 1, first moment 3, second moment 4, denominator 3 (root, bias
correction, epsilon), update 3."""
