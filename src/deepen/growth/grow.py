"""Growth: a pure function from state to state.

Three blocks grown to five by `Growth(operator="interleave", moments="copy")`. The layout is (0, 1, None, 2, None):

    block after growth   0   1   2        3   4
    weights              0   1   1 (copy) 2   2 (copy)
    moments              0   1   1 (copy) 2   2 (copy)

With `moments="keep"` blocks 2 and 4 begin with empty moments; with `operator="random"` their weights are fresh.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from torch import Tensor

from deepen.errors import InvalidValueError
from deepen.growth.layout import GrownBlock, count_blocks
from deepen.growth.moments import get_moment_policy
from deepen.growth.operators import get_operator
from deepen.growth.spec import Growth
from deepen.model.build import init_block
from deepen.model.config import ModelConfig


class Growable(Protocol):
    """What growth needs from a state: weights by name, and the optimizer's state by the same names."""

    @property
    def weights(self) -> Mapping[str, Tensor]: ...  # noqa: D102
    @property
    def moments(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def depth(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


State = TypeVar("State", bound=Growable)


def grow(state: State, depth: int, growth: Growth, config: ModelConfig) -> State:
    """Return the state grown to `depth` blocks.

    Weights and moments grow together; the input does not change, and no module is needed. The k-th block that a
    run creates draws its fresh weights from a random stream keyed by seed and k. They do not depend on how often
    the run grew before.

    Args:
        state: weights and moments by parameter name (`blocks.<index>.<name>`), shapes as in the model.
        depth: blocks after growth.
        growth: operator, placement and moment policy.
        config: the model at its final depth, which sets the scale of fresh output projections.

    Raises:
        InvalidValueError: `depth` is not above the state's, or there is no block to copy.
    """
    if depth <= state.depth:
        raise InvalidValueError(
            f"is {depth}, but the state has {count_blocks(state.depth)} already: growth only adds",
            field="depth",
            value=depth,
        )
    if get_operator(growth.operator).copies and state.depth == 0:
        raise InvalidValueError(
            f"{growth.operator!r} copies blocks, and the state has none", field="operator", value=growth.operator
        )
    return grow_blocks(state, growth.blocks(state.depth, depth - state.depth), config, growth.moments)


def grow_blocks(state: State, blocks: Sequence[GrownBlock], config: ModelConfig, moments: str) -> State:
    """Return the state with these blocks, from bottom to top; what `grow` does once the layout is known.

    Args:
        state: as in `grow`.
        blocks: what each block of the result is, by `Growth.blocks` or `follow_layout`.
        config: as in `grow`.
        moments: the moment policy.
    """
    policy = get_moment_policy(moments)
    weights, kept = _select_outside_blocks(state.weights), _select_outside_blocks(state.moments)
    fresh_below = 0
    for index, block in enumerate(blocks):
        if block.source is None:
            own = init_block(config, state.seed, state.depth + fresh_below)
            fresh_below += 1
        else:
            own = _select_block(state.weights, block.source)
            own_moments = _select_block(state.moments, block.source)
            if not block.is_new:
                kept |= _prefix_names(index, own_moments)
            elif policy.copies:
                kept |= _prefix_names(index, deepcopy(own_moments))
        if block.is_new:
            own = deepcopy(own)  # new blocks share no memory with the old state
        if block.zero_output:
            _zero_output(own, config)
        weights |= _prefix_names(index, own)
    return replace(  # type: ignore[type-var]
        state, weights=weights, moments=kept if policy.keeps else {}, depth=len(blocks)
    )


def _zero_output(block: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Set to zero what makes a block the identity."""
    for name, weight in block.items():
        if name.startswith(config.zero_parameters):
            weight.zero_()


def _select_outside_blocks(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that belong to no block."""
    return {name: value for name, value in tensors.items() if not name.startswith("blocks.")}


def _select_block(tensors: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The entries of one block, by name within the block."""
    prefix = f"blocks.{index}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _prefix_names(index: int, block: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a block, by name within the model."""
    return {f"blocks.{index}.{name}": value for name, value in block.items()}
