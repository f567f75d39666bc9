"""AdamW with decay groups, and the way between its state and ours."""

from collections.abc import Mapping

import torch
from torch import nn

from deepen.train.parallel import gathered, spread
from deepen.train.settings import TrainSettings
from deepen.train.state import Moments
from deepen.train.world import ALONE, World


def make_optimizer(
    model: nn.Module, settings: TrainSettings, moments: Mapping[str, Moments], world: World = ALONE
) -> torch.optim.AdamW:
    """Fused AdamW over the trainable parameters, matrices decayed and vectors not, going on from `moments`.

    Each process keeps the moments of what it holds of a parameter.

    Source: Loshchilov & Hutter 2019 (arXiv 1711.05101); the groups are those of GPT-2 trainers at large.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = [
        {"params": [p for p in trainable.values() if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable.values() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=0.0, betas=(settings.beta_1, settings.beta_2), eps=settings.epsilon, fused=True
    )
    for name, parameter in trainable.items():
        if name in moments:
            optimizer.state[parameter] = {
                key: spread(value, parameter, world) for key, value in moments[name].items()
            }
    return optimizer


def read_moments(
    model: nn.Module, optimizer: torch.optim.AdamW, before: Mapping[str, Moments]
) -> dict[str, Moments]:
    """Moments by parameter name: the optimizer's where it has any, else those from `before` (frozen parts)."""
    moments = dict(before)
    for name, parameter in model.named_parameters():
        if parameter in optimizer.state:
            kept = optimizer.state[parameter]
            moments[name] = {key: gathered(kept[key]) for key in ("exp_avg", "exp_avg_sq", "step")}
    return moments
