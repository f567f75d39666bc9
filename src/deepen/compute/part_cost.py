"""The cost of a part of a model, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCost:
    """The cost of one part: a block's linears, attention core or norms, the embeddings, the final norm, the head.

    Attributes:
        part: the name of the part.
        parameters: its number of parameters.
        forward, recompute, activation_backward, weight_backward: FLOPs per token.
        bytes: for a part without FLOPs, bytes of activations and table rows in fp32 that its forward pass reads
            and writes per token.
    """

    part: str
    parameters: int
    forward: int = 0
    recompute: int = 0
    activation_backward: int = 0
    weight_backward: int = 0
    bytes: int = 0

    @property
    def total(self) -> int:
        """Total FLOPs per token."""
        return self.forward + self.recompute + self.activation_backward + self.weight_backward


def add_up(name: str, costs: Sequence[tuple[int, PartCost]]) -> PartCost:
    """The sum of pairs (count, cost), as one cost."""
    numbers = [field.name for field in fields(PartCost) if field.name != "part"]
    sums = {number: sum(count * getattr(cost, number) for count, cost in costs) for number in numbers}
    return PartCost(part=name, **sums)
