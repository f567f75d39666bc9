"""The sizes of a model from which its family computes."""

from typing import Protocol


class Sizes(Protocol):
    """The sizes of a model from which a family computes; `ModelConfig` has them."""

    @property
    def width(self) -> int:
        """Width of the residual stream."""

    @property
    def heads(self) -> int:
        """Attention heads."""

    @property
    def kv_heads(self) -> int:
        """Key-value heads."""

    @property
    def head_width(self) -> int:
        """Width of one head."""

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""

    @property
    def key_width(self) -> int:
        """Width of all key heads together."""

    @property
    def mlp(self) -> int:
        """Width inside the MLP."""

    @property
    def context(self) -> int:
        """Length of the longest sequence, in tokens."""

    @property
    def biases(self) -> str:
        """Which linears have biases; empty means the family's default."""

    @property
    def qk_norm(self) -> str:
        """What the norms of queries and keys span."""

    @property
    def norm_position(self) -> str:
        """Where a block's norms are."""
