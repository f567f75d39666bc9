"""What a new block is made of: fresh weights, an identity, or a copy of an old block."""

from collections.abc import Callable
from dataclasses import dataclass

from deepen.growth.layout import Layout, layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """A growth operator.

    `source` gives, for the n-th new block at a place of a layout, the old block to copy; None draws fresh
    weights. `identity` zeroes weight *and* bias of the output projections: the logits stay as they were to
    the rounding, and gradients still reach every weight after one step.
    """

    summary: str
    placement: str
    source: Callable[[Layout, int, int], int] | None = None
    identity: bool = False


def _stack(places: Layout, place: int, nth: int) -> int:
    """The n-th new block copies the n-th old one, round and round."""
    old = sum(block is not None for block in places)
    return nth % old


def _below(places: Layout, place: int, nth: int) -> int:
    """A new block copies the nearest old one below it, or the lowest where there is none."""
    return max((block for block in places[:place] if block is not None), default=0)


OPERATORS: dict[str, Operator] = {
    "random": Operator(summary="fresh weights (Li, Fung & Huang 2024)", placement="top"),
    "identity": Operator(
        summary="fresh weights, output projections zero: an exact identity", placement="top", identity=True
    ),
    "stack": Operator(
        summary="a copy of the whole stack on top (Du et al. 2024, G_stack)", placement="top", source=_stack
    ),
    "interleave": Operator(
        summary="a copy of each block above it (Chang et al. 2018)", placement="interleaved", source=_below
    ),
}


def operator_named(name: str) -> Operator:
    """Look an operator up."""
    if name not in OPERATORS:
        raise ValueError(f"operator {name!r} is unknown: use {', '.join(OPERATORS)}")
    return OPERATORS[name]


def growth_layout(operator: str, placement: str, old: int, new: int) -> Layout:
    """The layout of a growth; an empty placement is the operator's own."""
    return layout(old, new, placement or operator_named(operator).placement)
