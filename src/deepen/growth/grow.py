"""Growth: a pure function from state to state."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from torch import Tensor

from deepen.growth.moments import check_policy
from deepen.growth.operators import growth_layout, operator_named
from deepen.model.build import init_block
from deepen.model.config import ModelConfig
from deepen.model.decoder import OUTPUT_PROJECTIONS
from deepen.schedule.phase import Growth


class Growable(Protocol):
    """What growth needs of a state: named weights and, by the same names, whatever the optimizer keeps."""

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
    """The same state, deeper.

    Weights and moments grow together; the input is not changed, and no live module is needed. The k-th
    block ever born draws its fresh weights from a stream keyed by seed and k, whatever path led here.

    Args:
        state: weights and moments by parameter name (`blocks.<index>.<name>`), shapes as in the model.
        depth: blocks after growth.
        growth: operator, placement and moment policy.
        config: the model at its final depth, which sets the scale of fresh output projections.

    Raises:
        ValueError: `depth` is not above the state's, or operator, placement or policy is unknown.
    """
    if depth <= state.depth:
        raise ValueError(f"depth is {depth}, but the state has {state.depth} blocks already: growth only adds")
    check_policy(growth.moments)
    operator = operator_named(growth.operator)
    places = growth_layout(growth.operator, growth.placement, state.depth, depth - state.depth)

    weights = {name: w for name, w in state.weights.items() if not name.startswith("blocks.")}
    moments = {name: m for name, m in state.moments.items() if not name.startswith("blocks.")}
    born = 0
    for place, old in enumerate(places):
        source = old
        if old is None and operator.source is not None:
            source = operator.source(places, place, born)
        if source is not None:
            weights |= _moved(state.weights, source, place, copied=old is None)
            if old is not None or growth.moments == "copy":
                moments |= _moved(state.moments, source, place, copied=old is None)
        else:
            block = init_block(config, state.seed, state.depth + born)
            if operator.identity:
                for name, weight in block.items():
                    if name.startswith(OUTPUT_PROJECTIONS):
                        weight.zero_()
            weights |= {f"blocks.{place}.{name}": weight for name, weight in block.items()}
        born += old is None
    if growth.moments == "reset":
        moments = {}
    return replace(state, weights=weights, moments=moments, depth=depth)  # type: ignore[type-var]


def _moved(tensors: Mapping[str, Any], source: int, place: int, *, copied: bool) -> dict[str, Any]:
    """What belongs to block `source`, under the names of block `place`; a copy has memory of its own."""
    prefix = f"blocks.{source}."
    return {
        f"blocks.{place}.{name.removeprefix(prefix)}": deepcopy(value) if copied else value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
