"""Growth: a pure function from state to state.

Three blocks grown to five by `Growth(operator="interleave", moments="copy")`. The layout is (0, 1, None, 2, None):

    block after growth   0   1   2        3   4
    weights              0   1   1 (copy) 2   2 (copy)
    moments              0   1   1 (copy) 2   2 (copy)

With `moments="keep"` blocks 2 and 4 begin with empty moments; with `operator="random"` their weights are fresh.
"""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from deepen.growth.layout import GrownBlock
from deepen.growth.moments import get_moment_policy
from deepen.growth.spec import Growth, GrowthStep
from deepen.model.build import generator, init_block
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
    """Return the state grown to `depth` blocks; see `grow_by`.

    Args:
        state: weights and moments by parameter name (`blocks.<index>.<name>`), shapes as in the model.
        depth: blocks after growth.
        growth: operator and placement or a layout, and moment policy.
        config: the model at its final depth, which sets the scale of fresh output projections.

    Raises:
        InvalidValueError: `depth` is not above the state's, there is no block to copy, or the layout does not fit.
    """
    return grow_by(state, growth.resolve(state.depth, depth), config)


def grow_by(state: State, step: GrowthStep, config: ModelConfig) -> State:
    """Return the state with the blocks of a growth step.

    Weights and moments grow together; the input does not change, and no module is needed. The k-th block that a
    run creates draws its fresh weights, or its noise, from a random stream keyed by seed and k. They do not depend
    on how often the run grew before.

    Args:
        state, config: as in `grow`.
        step: what each block of the result is.
    """
    policy = get_moment_policy(step.moments)
    weights, moments = _select_outside_blocks(state.weights), _select_outside_blocks(state.moments)
    number = state.depth  # of the next block that the run creates
    for index, block in enumerate(step.blocks):
        if block.is_new:
            own = _make_block(state, block, step.noise, number, config)
            own_moments = _make_moments(state, block) if policy.copies else {}
            number += 1
        else:
            assert block.source is not None, "a block that is not new was there before"
            own, own_moments = (_select_block(each, block.source) for each in (state.weights, state.moments))
        weights |= _prefix_names(index, own)
        moments |= _prefix_names(index, own_moments)
    return replace(  # type: ignore[type-var]
        state, weights=weights, moments=moments if policy.keeps else {}, depth=step.depth
    )


def _make_block(
    state: Growable, block: GrownBlock, noise: float, number: int, config: ModelConfig
) -> dict[str, Tensor]:
    """The weights of a new block, by name within it; they share no memory with the old state."""
    if block.source is None:
        own = init_block(config, state.seed, number)
    else:
        own = {name: weight.clone() for name, weight in _select_block(state.weights, block.source).items()}
        if block.upper_source is not None:
            upper = _select_block(state.weights, block.upper_source)
            own = {name: torch.lerp(weight, upper[name], block.upper_share) for name, weight in own.items()}
        for name, weight in own.items():
            if noise and weight.dim() >= 2:
                add_noise(weight, noise, generator(state.seed, "noise", number, name))
    for name, weight in own.items():
        if block.residual_scale != 1 and name.startswith(config.zero_parameters):
            weight.mul_(block.residual_scale)
    return own


def add_noise(matrix: Tensor, noise: float, stream: torch.Generator) -> None:
    """Add normal noise to a matrix in place, its standard deviation in units of the matrix's root mean square."""
    root_mean_square = float(torch.linalg.vector_norm(matrix, dtype=torch.float64)) / math.sqrt(matrix.numel())
    drawn = torch.empty(matrix.shape).normal_(0.0, noise * root_mean_square, generator=stream)
    matrix.add_(drawn.to(matrix.dtype))


def _make_moments(state: Growable, block: GrownBlock) -> dict[str, Any]:
    """The moments of a new block that is made from old ones, by name within it; empty for a fresh block.

    Between two blocks, tensors are mixed like the weights, and step counts are those of the lower one.
    """
    if block.source is None:
        return {}
    own = _select_block(state.moments, block.source)
    if block.upper_source is None:
        return deepcopy(own)
    upper = _select_block(state.moments, block.upper_source)
    return {
        name: {
            key: torch.lerp(value, upper[name][key], block.upper_share) if value.dim() else value.clone()
            for key, value in moments.items()
        }
        for name, moments in own.items()
        if name in upper
    }


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
