"""Make a torch optimizer from its spec, and move its state to and from a `TrainState`.

The engine uses three members of an optimizer: `param_groups`, in which it sets `lr` before each step; `step`; and
`found_inf`, a tensor on the device. If `found_inf` is set and is 1, `step` must change nothing: that lets a GPU
skip an update without waiting for the CPU. torch's fused optimizers support this.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from deepen.train.optim.adamw import make_adamw
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.placement import Placement
from deepen.train.state import Moments

IMPLEMENTATIONS: dict[str, Callable[[Any, list[dict[str, Any]]], torch.optim.Optimizer]] = {"adamw": make_adamw}
"""For each kind of spec, the function that makes the optimizer from the spec and the parameter groups."""


def make_optimizer(
    model: nn.Module, spec: OptimizerSpec, moments: Mapping[str, Moments], placement: Placement
) -> torch.optim.Optimizer:
    """The optimizer of a model's trainable parameters, continuing from `moments`.

    Each process keeps the optimizer state of the shards that it holds.

    Args:
        model: a model whose `requires_grad` flags are set.
        spec: kind and options.
        moments: optimizer state by parameter name; a parameter that is missing starts without any.
        placement: where the model is.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = [
        {"params": [trainable[name] for name in group.names], **group.options}
        for group in spec.groups({name: p.dim() for name, p in trainable.items()})
    ]
    optimizer = IMPLEMENTATIONS[spec.kind](spec, groups)
    for name, parameter in trainable.items():
        if name in moments:
            optimizer.state[parameter] = {
                key: placement.distribute(value, parameter) for key, value in moments[name].items()
            }
    return optimizer


def read_moments(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    spec: OptimizerSpec,
    before: Mapping[str, Moments],
    placement: Placement,
) -> dict[str, Moments]:
    """Optimizer state by parameter name, copied to the CPU.

    Args:
        model, optimizer: as `make_optimizer` got and returned them.
        spec: names the tensors that are read.
        before: the moments that the segment began with; frozen parameters keep theirs.
        placement: where the model is.
    """
    moments = dict(before)
    for name, parameter in model.named_parameters():
        if parameter in optimizer.state:
            state = optimizer.state[parameter]
            moments[name] = {key: placement.gather(state[key]) for key in spec.state_names}
    return moments
