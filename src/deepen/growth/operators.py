"""How new blocks get their weights.

An operator decides two things for each new block: which old block it copies, if any (otherwise its weights are
fresh), and whether what it adds to the residual stream is then set to zero, which makes it an identity. To add an
operator, add an entry to `OPERATORS`, with a function for its source if it copies:

    Operator(name="last", summary="copies of the topmost block", placement="top",
             source=lambda new: new.old_depth - 1)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deepen.errors import look_up
from deepen.growth.layout import Layout, get_placement


@dataclass(frozen=True, kw_only=True, slots=True)
class NewBlock:
    """A new block: the layout of the grown model, its index there, and how many new blocks are below it."""

    layout: Layout
    index: int
    new_below: int

    @property
    def old_depth(self) -> int:
        """Blocks before growth."""
        return sum(block is not None for block in self.layout)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """A growth operator.

    Attributes:
        name, summary: its name, and an explanation in a few words.
        placement: where new blocks go unless a `Growth` names another placement.
        source: returns the index, before growth, of the block that a new block copies; None draws fresh weights.
        zero_output: whether the `ModelConfig.zero_parameters` of new blocks are zero: weights *and* biases of the
            output projections, or the gains of norms that follow them. The logits then stay equal up to rounding,
            and gradients still reach every weight after one step.
    """

    name: str
    summary: str
    placement: str
    source: Callable[[NewBlock], int] | None = None
    zero_output: bool = False

    def __post_init__(self) -> None:
        get_placement(self.placement)

    @property
    def copies(self) -> bool:
        """Whether new blocks are copies, which needs at least one block before growth."""
        return self.source is not None


def _repeat_the_stack(new: NewBlock) -> int:
    """The n-th new block copies the n-th old one; after the last it starts again from the bottom."""
    return new.new_below % new.old_depth


def _nearest_below(new: NewBlock) -> int:
    """The nearest old block below, or the lowest old block if there is none below."""
    return max((block for block in new.layout[: new.index] if block is not None), default=0)


OPERATORS: Mapping[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator(name="random", summary="fresh weights (Li, Fung & Huang 2024)", placement="top"),
        Operator(
            name="identity",
            summary="fresh weights, output projections zero: an exact identity",
            placement="top",
            zero_output=True,
        ),
        Operator(
            name="stack",
            summary="a copy of the whole stack on top (Du et al. 2024, G_stack)",
            placement="top",
            source=_repeat_the_stack,
        ),
        Operator(
            name="interleave",
            summary="a copy of each block above it (Chang et al. 2018)",
            placement="interleaved",
            source=_nearest_below,
        ),
        Operator(
            name="copy-zero",
            summary="a copy of each block above it, output projections zero: an exact identity (Wu et al. 2024, "
            "LLaMA-Pro)",
            placement="interleaved",
            source=_nearest_below,
            zero_output=True,
        ),
    )
}
"""All operators by name."""


def get_operator(name: str) -> Operator:
    """An operator by name.

    Raises:
        InvalidValueError: the name is unknown.
    """
    return look_up(OPERATORS, name, field="operator")
