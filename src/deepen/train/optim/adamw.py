"""AdamW: torch's fused implementation, and a variant that stores its moments in bf16."""

from typing import Any

import torch
from torch.optim.adamw import adamw

from deepen.train.optim.spec import AdamWSpec

MOMENTS = ("exp_avg", "exp_avg_sq")


class CompactAdamW(torch.optim.AdamW):
    """Fused AdamW that stores its moments in bf16: 4 bytes per parameter instead of 8.

    Each parameter's moments are converted to the parameter's type, updated as usual, and rounded to the nearest
    bf16. This costs a copy of the largest parameter's moments, and two more passes over all moments.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, unless the tensor `found_inf` is set and is 1."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state |= {name: torch.zeros_like(parameter, dtype=torch.bfloat16) for name in MOMENTS}
        first, second = (state[name].to(parameter.dtype) for name in MOMENTS)
        beta_1, beta_2 = group["betas"]
        adamw(
            [parameter],
            [gradient],
            [first],
            [second],
            [],
            [state["step"]],
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
        for name, moment in zip(MOMENTS, (first, second), strict=True):
            state[name].copy_(moment)


def make_adamw(spec: AdamWSpec, groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    """AdamW over parameter groups, with a rate of 0 until the first step sets one."""
    kind = CompactAdamW if spec.state_precision == "bf16" else torch.optim.AdamW
    return kind(groups, lr=0.0, betas=(spec.beta_1, spec.beta_2), eps=spec.epsilon, fused=True)
