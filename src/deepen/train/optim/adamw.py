"""AdamW with decay groups, and the way between its state and ours."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from deepen.train.distributed.placement import gathered, spread
from deepen.train.distributed.processes import ALONE, World
from deepen.train.settings import TrainSettings
from deepen.train.state import Moments

MOMENTS = ("exp_avg", "exp_avg_sq")


class CompactAdamW(torch.optim.AdamW):
    """Fused AdamW that keeps its moments in bf16: 4 bytes a weight in place of 8.

    Each parameter's moments are widened to its own type, updated as ever, and rounded to the nearest bf16. That
    costs a copy of the largest parameter's moments, and the time of two more passes over all of them.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; `found_inf`, where set to 1, holds all of them back."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        kept = self.state[parameter]
        if not kept:
            kept["step"] = torch.zeros((), device=parameter.device)
            kept |= {key: torch.zeros_like(parameter, dtype=torch.bfloat16) for key in MOMENTS}
        first, second = (kept[key].to(parameter.dtype) for key in MOMENTS)
        beta_1, beta_2 = group["betas"]
        adamw(
            [parameter],
            [gradient],
            [first],
            [second],
            [],
            [kept["step"]],
            fused=True,
            found_inf=getattr(self, "found_inf", None),
            amsgrad=False,
            beta1=beta_1,
            beta2=beta_2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for key, moment in zip(MOMENTS, (first, second), strict=True):
            kept[key].copy_(moment)


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
    kind = CompactAdamW if settings.moment_precision == "bf16" else torch.optim.AdamW
    optimizer = kind(groups, lr=0.0, betas=(settings.beta_1, settings.beta_2), eps=settings.epsilon, fused=True)
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
            moments[name] = {key: gathered(kept[key]) for key in (*MOMENTS, "step")}
    return moments
