"""Growth: a pure function from state to state.

Three blocks grown to five by `Growth(operator="interleave", moments="copy")`. The layout is (0, 1, None, 2, None):

    block after growth   0   1   2        3   4
    weights              0   1   1 (copy) 2   2 (copy)
    moments              0   1   1 (copy) 2   2 (copy)

With `moments="keep"` blocks 2 and 4 begin with empty moments; with `operator="random"` their weights are fresh.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from torch import Tensor

from deepen.errors import InvalidValueError
from deepen.growth.moments import get_moment_policy
from deepen.growth.operators import NewBlock, Operator, get_operator
from deepen.growth.spec import Growth
from deepen.model.build import init_block
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES


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
            f"is {depth}, but the state has {state.depth} blocks already: growth only adds",
            field="depth",
            value=depth,
        )
    operator, policy = get_operator(growth.operator), get_moment_policy(growth.moments)
    if operator.copies and state.depth == 0:
        raise InvalidValueError(
            f"{operator.name!r} copies blocks, and the state has none", field="operator", value=operator.name
        )
    weights, moments = _select_outside_blocks(state.weights), _select_outside_blocks(state.moments)
    layout = growth.layout(state.depth, depth - state.depth)
    new_below = 0
    for index, old in enumerate(layout):
        if old is not None:
            weights |= _prefix_names(index, _select_block(state.weights, old))
            moments |= _prefix_names(index, _select_block(state.moments, old))
            continue
        new = NewBlock(layout=layout, index=index, new_below=new_below)
        weights |= _prefix_names(index, _make_weights(operator, new, state, config))
        if operator.source is not None and policy.copies:
            moments |= _prefix_names(index, deepcopy(_select_block(state.moments, operator.source(new))))
        new_below += 1
    return replace(  # type: ignore[type-var]
        state, weights=weights, moments=moments if policy.keeps else {}, depth=depth
    )


def _make_weights(operator: Operator, new: NewBlock, state: Growable, config: ModelConfig) -> dict[str, Tensor]:
    """The weights of a new block, by name within the block; they share no memory with the old state."""
    if operator.source is not None:
        weights = deepcopy(_select_block(state.weights, operator.source(new)))
    else:
        weights = init_block(config, state.seed, state.depth + new.new_below)
    if operator.zero_output:
        for name, weight in weights.items():
            if name.startswith(FAMILIES[config.family].output_projections):
                weight.zero_()
    return weights


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
