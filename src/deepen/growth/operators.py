"""How new blocks get their weights.

An operator decides for each new block which old block it copies, if any (otherwise its weights are fresh), and
whether its output is then set to zero, which makes it an identity. From this follows what it promises: `copies`,
`preserves_function` and, in words, `promise`. A test holds every operator to it. To add an operator, add an entry
to `OPERATORS`, with a function for its source if it copies:

    Operator(name="last-block", summary="copies of the topmost block", placement="top",
             source=lambda new: new.old_depth - 1)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deepen.errors import look_up
from deepen.growth.layout import Layout, find_middle_group, get_placement


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

    @property
    def number(self) -> int:
        """How many new blocks there are."""
        return len(self.layout) - self.old_depth

    @property
    def nearest_below(self) -> int | None:
        """The nearest old block below; None if there is none."""
        return next((block for block in self.layout[: self.index][::-1] if block is not None), None)

    @property
    def nearest_above(self) -> int | None:
        """The nearest old block above; None if there is none."""
        return next((block for block in self.layout[self.index :] if block is not None), None)

    @property
    def height(self) -> float:
        """Its distance from the nearest old block below, as a share of the distance between the nearest two."""
        below = next((n for n in range(self.index, -1, -1) if self.layout[n] is not None), -1)
        above = next((n for n in range(self.index, len(self.layout)) if self.layout[n] is not None), -1)
        return (self.index - below) / (above - below)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """A growth operator.

    Attributes:
        name, summary: its name, and an explanation in a few words.
        placement: where new blocks go unless a `Growth` names another placement; empty if the operator decides.
        source: returns the index, before growth, of the block that a new block copies; None draws fresh weights.
        zero_output: whether the `ModelConfig.zero_parameters` of new blocks are zero: weights *and* biases of the
            output projections, or the gains of norms that follow them. The logits then stay equal up to rounding,
            and gradients still reach every weight after one step.
        interpolates: whether a new block between two old ones is a mixture of them, by its distance from both.
        unties: whether layers that share blocks get blocks of their own; see `UNTIE`.
    """

    name: str
    summary: str
    placement: str
    source: Callable[[NewBlock], int] | None = None
    zero_output: bool = False
    interpolates: bool = False
    unties: bool = False

    def __post_init__(self) -> None:
        if self.placement:
            get_placement(self.placement)

    @property
    def copies(self) -> bool:
        """Whether new blocks have weights of old ones, which needs at least one block before growth."""
        return self.source is not None or self.unties

    @property
    def preserves_function(self) -> bool:
        """Whether the logits stay equal up to rounding."""
        return self.zero_output or self.unties

    @property
    def promise(self) -> str:
        """What holds at growth, in words."""
        logits = "the logits stay equal" if self.preserves_function else "the logits change"
        if self.zero_output:
            logits += " (not with depth-mup, which scales all branches by the new depth)"
        if self.interpolates:
            return f"{logits}; between two old blocks, new weights are their weighted mean"
        if not self.copies:
            return f"{logits}; all weights of new blocks are fresh{', outputs zero' if self.zero_output else ''}"
        return f"{logits}; new blocks equal their source{', but for zero outputs' if self.zero_output else ''}"


def _repeat_the_stack(new: NewBlock) -> int:
    """The n-th new block copies the n-th old one; after the last it starts again from the bottom."""
    return new.new_below % new.old_depth


def _nearest_below(new: NewBlock) -> int:
    """The nearest old block below, or the lowest old block if there is none below."""
    return 0 if new.nearest_below is None else new.nearest_below


def _last_group(new: NewBlock) -> int:
    """The n-th new block copies the n-th of the topmost old blocks, of which there are as many as new ones."""
    size = min(new.number, new.old_depth)
    return new.old_depth - size + new.new_below % size


def _middle_group(new: NewBlock) -> int:
    """The n-th new block copies the n-th of the middle old blocks, of which there are as many as new ones."""
    group = find_middle_group(new.old_depth, new.number)
    return group[new.new_below % len(group)]


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
        Operator(
            name="last",
            summary="copies of the topmost blocks, as many as are added (Reddi et al. 2023, gradual stacking)",
            placement="top",
            source=_last_group,
        ),
        Operator(
            name="last-block",
            summary="copies of the topmost block alone (Bu 2025, copying_last)",
            placement="top",
            source=lambda new: new.old_depth - 1,
        ),
        Operator(
            name="middle",
            summary="copies of the middle blocks, as many as are added, above them (Saunshi et al. 2024, MIDAS)",
            placement="above-middle",
            source=_middle_group,
        ),
        Operator(
            name="interpolate",
            summary="between two blocks a mixture of both, elsewhere a copy of the nearest",
            placement="interleaved",
            source=_nearest_below,
            interpolates=True,
        ),
    )
}
"""The operators that add layers, by name."""

UNTIE = Operator(
    name="untie",
    summary="layers that share blocks (`Phase.layers`) get blocks of their own, equal at first",
    placement="",
    unties=True,
)
"""The operator that adds blocks, but no layers: the layout is the `layers` of the phase before."""


def get_operator(name: str) -> Operator:
    """An operator by name, `UNTIE` included.

    Raises:
        InvalidValueError: the name is unknown.
    """
    return UNTIE if name == UNTIE.name else look_up(OPERATORS, name, field="operator")
