"""Make a torch optimizer from its spec, and move its state to and from a `TrainState`.

The engine uses three members of an optimizer: `param_groups`, in which `set_rates` sets `lr` before each step;
`step`; and `found_inf`, a tensor on the device. If `found_inf` is set and is 1, `step` must change nothing: that
lets a GPU skip an update without waiting for the CPU. torch's fused optimizers support this; the spec of one that
does not says so (`can_hold_back`), and a step's loss is then read before its update.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from deepen.model.lazy import LazyTensors
from deepen.train.optim.adamw import make_adamw
from deepen.train.optim.muon import make_muon
from deepen.train.optim.spec import OptimizerSpec, ParameterGroup
from deepen.train.placement import Placement
from deepen.train.state import Moments

IMPLEMENTATIONS: dict[str, Callable[[Any, list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adamw": make_adamw,
    "muon": make_muon,
}
"""For each kind of spec, the function that makes the optimizer from the spec and the parameter groups."""


def make_optimizer(
    model: nn.Module,
    spec: OptimizerSpec,
    moments: Mapping[str, Moments],
    placement: Placement,
    rewarmed: Collection[int] = (),
    *,
    branch_scale: float = 1.0,
) -> torch.optim.Optimizer:
    """The optimizer of a model's trainable parameters, continuing from `moments`.

    Each process keeps the optimizer state of the shards that it holds. A group of the optimizer has three
    entries of ours: `lr_factor`; `rewarmed`, whether it holds parameters of rewarmed blocks; and `state_names`.

    Args:
        model: a model whose `requires_grad` flags are set.
        spec: kind and options.
        moments: optimizer state by parameter name; a parameter that is missing, or has the state of another kind
            of optimizer, starts without any.
        placement: where the model is.
        rewarmed: indices of the blocks whose rate warms up again after growth.
        branch_scale: as in `OptimizerSpec.groups`.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    dimensions = {name: p.dim() for name, p in trainable.items()}
    groups = [
        {
            "params": [trainable[name] for name in group.names],
            "lr_factor": group.lr_factor,
            "rewarmed": is_rewarmed,
            "state_names": group.state,
            **group.options,
        }
        for whole in spec.groups(dimensions, branch_scale=branch_scale)
        for group, is_rewarmed in _split_rewarmed(whole, rewarmed)
    ]
    optimizer = IMPLEMENTATIONS[spec.kind](spec, groups)
    state_names = _find_state_names(optimizer)
    for name, parameter in trainable.items():
        kept = moments.get(name, {})
        if kept.keys() == set(state_names[parameter]):
            optimizer.state[parameter] = {key: placement.load(kept, key, parameter) for key in kept}
    return optimizer


def _split_rewarmed(group: ParameterGroup, rewarmed: Collection[int]) -> Iterator[tuple[ParameterGroup, bool]]:
    """The part of a group outside the rewarmed blocks, and the part in them; without empty parts."""
    prefixes = tuple(f"blocks.{index}." for index in rewarmed)
    for inside in (False, True):
        if names := [name for name in group.names if name.startswith(prefixes) == inside]:
            yield group._replace(names=names), inside


def set_rates(optimizer: torch.optim.Optimizer, lr: float, rewarm_share: float = 1.0) -> None:
    """Set the learning rate of each group for the next step.

    Args:
        optimizer: from `make_optimizer`.
        lr: the schedule's rate; a group's is its `lr_factor` times that.
        rewarm_share: factor on the rate of the groups that are rewarmed.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"] * (rewarm_share if group["rewarmed"] else 1.0)


def read_moments(
    model: nn.Module, optimizer: torch.optim.Optimizer, before: Mapping[str, Moments], placement: Placement
) -> dict[str, Moments]:
    """Optimizer state by parameter name, copied to the CPU.

    Args:
        model, optimizer: as `make_optimizer` got and returned them.
        before: the moments of frozen parameters, which keep theirs.
        placement: where the model is.
    """
    moments, state_names = dict(before), _find_state_names(optimizer)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter in optimizer.state}
    tensors = {
        f"{name}:{key}": optimizer.state[parameter][key]
        for name, parameter in trained.items()
        for key in state_names[parameter]
    }
    copies = placement.copy(tensors) if tensors else {}  # all at once, so that a GPU is waited for once
    for name, parameter in trained.items():
        moments[name] = _select(copies, {key: f"{name}:{key}" for key in state_names[parameter]})
    return moments


def _select(tensors: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> Moments:
    """Some of the tensors under other names, lazy as they are: `names` gives the present name of each."""
    if isinstance(tensors, LazyTensors):
        return LazyTensors({new: tensors.lazy[old] for new, old in names.items()})
    return {new: tensors[old] for new, old in names.items()}


def _find_state_names(optimizer: torch.optim.Optimizer) -> dict[torch.Tensor, tuple[str, ...]]:
    """The names of the tensors that an optimizer keeps for each parameter."""
    return {parameter: group["state_names"] for group in optimizer.param_groups for parameter in group["params"]}
