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
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from deepen.growth.layout import GrownBlock
from deepen.growth.moments import get_moment_policy
from deepen.growth.spec import Growth, GrowthStep
from deepen.model.build import draw_block, generator
from deepen.model.config import ModelConfig
from deepen.model.lazy import LazyTensor, LazyTensors, compute_later, unread


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

    Weights and moments grow together; the input does not change, and no module is needed. Lazy tensors are not
    read: a copy is read from where its source is, anything else is computed when it is read. The k-th block that a
    run creates draws its fresh weights, or its noise, from a random stream keyed by seed and k. They do not depend
    on how often the run grew before.

    Args:
        state, config: as in `grow`.
        step: what each block of the result is.
    """
    policy, is_lazy = get_moment_policy(step.moments), isinstance(state.weights, LazyTensors)
    old_weights = unread(state.weights)
    weights, moments = _select_outside_blocks(old_weights), _select_outside_blocks(state.moments)
    number = state.depth  # of the next block that the run creates
    for index, block in enumerate(step.blocks):
        if block.is_new:
            own = _make_block(old_weights, block, step.noise, (state.seed, number), config)
            own_moments = _make_moments(state, block) if policy.copies else {}
            number += 1
        else:
            assert block.source is not None, "a block that is not new was there before"
            own, own_moments = (_select_block(each, block.source) for each in (old_weights, state.moments))
        weights |= _prefix_names(index, own)
        moments |= _prefix_names(index, own_moments)
    return replace(  # type: ignore[type-var]
        state,
        weights=LazyTensors(weights) if is_lazy else weights,
        moments=moments if policy.keeps else {},
        depth=step.depth,
    )


def _make_block(
    weights: Mapping[str, Any], block: GrownBlock, noise: float, key: tuple[int, int], config: ModelConfig
) -> dict[str, Any]:
    """The weights of a new block, by name within it; they share no memory with the old ones.

    Args:
        weights: the old weights, lazy or not.
        block: what the block is.
        noise: as in `GrowthStep`.
        key: the run's seed and the number of the block, which key its random streams.
        config: the model at its final depth.
    """
    sources: dict[str, tuple[Any, ...]]
    if block.source is None:
        is_lazy = any(isinstance(weight, LazyTensor) for weight in weights.values())
        fresh = draw_block(config, *key)
        sources = {name: (weight,) for name, weight in (unread(fresh) if is_lazy else fresh).items()}
    else:
        sources = {name: (weight,) for name, weight in _select_block(weights, block.source).items()}
    if block.upper_source is not None:
        upper = _select_block(weights, block.upper_source)
        sources = {name: (*lower, upper[name]) for name, lower in sources.items()}
    own = {}
    for name, (weight, *others) in sources.items():
        change = _Change(
            upper_share=block.upper_share,
            noise=noise if block.source is not None and weight.dim() >= 2 else 0.0,
            stream=(key[0], "noise", key[1], name),
            scale=block.residual_scale if name.startswith(config.zero_parameters) else 1.0,
        )
        own[name] = _apply(change, weight, *others)
    return own


@dataclass(frozen=True, kw_only=True, slots=True)
class _Change:
    """What distinguishes a tensor of a new block from its source: a second source, noise, and a factor."""

    upper_share: float = 0.0
    noise: float = 0.0
    stream: tuple[Any, ...] = ()
    scale: float = 1.0

    def __call__(self, tensor: Tensor, upper: Tensor | None = None) -> Tensor:
        """Change the tensor in place."""
        if upper is not None:
            tensor.lerp_(upper, self.upper_share)
        if self.noise:
            add_noise(tensor, self.noise, generator(*self.stream))
        return tensor if self.scale == 1 else tensor.mul_(self.scale)

    @property
    def is_none(self) -> bool:
        """Whether a tensor of one source stays as it is."""
        return not self.noise and self.scale == 1


def _apply(change: _Change, tensor: Any, *others: Any) -> Any:
    """The changed tensor: a new one, or a lazy one from lazy ones."""
    if not isinstance(tensor, LazyTensor):
        return change(tensor.clone(), *others)
    return tensor if change.is_none and not others else compute_later(change, tensor, *others)


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
        return {name: kept if isinstance(kept, LazyTensors) else deepcopy(kept) for name, kept in own.items()}
    upper = _select_block(state.moments, block.upper_source)
    return {name: _mix(moments, upper[name], block) for name, moments in own.items() if name in upper}


def _mix(lower: Mapping[str, Tensor], upper: Mapping[str, Tensor], block: GrownBlock) -> Mapping[str, Tensor]:
    """The moments of a parameter between those of two others."""
    change, none, above = _Change(upper_share=block.upper_share), _Change(), unread(upper)
    mixed = {
        key: _apply(change, value, above[key]) if value.dim() else _apply(none, value)
        for key, value in unread(lower).items()
    }
    return LazyTensors(mixed) if isinstance(lower, LazyTensors) else mixed


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
