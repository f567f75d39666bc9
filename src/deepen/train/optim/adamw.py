"""AdamW: torch's fused implementation, and a variant that stores its moments in bf16."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from deepen.compute.optimizer_cost import MAX_GROUP_BYTES
from deepen.train.optim.spec import AdamWSpec

MOMENTS = ("exp_avg", "exp_avg_sq")


class CompactAdamW(torch.optim.AdamW):
    """Fused AdamW that stores its moments in bf16: 4 bytes per parameter instead of 8.

    The moments of a few parameters at a time are converted to the parameters' type, updated as usual, and rounded
    to the nearest bf16. This costs a copy of these moments, and two more passes over all moments.

    Args:
        groups, options: as torch's AdamW takes them.
        max_group_bytes: the most bytes of such copies; a parameter that needs more is updated alone. On a GPU,
            where each operation costs a launch, many are updated at once.
    """

    def __init__(self, groups: list[dict[str, Any]], *, max_group_bytes: int, **options: Any) -> None:
        super().__init__(groups, **options)
        self._max_group_bytes = max_group_bytes

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, unless the tensor `found_inf` is set and is 1."""
        for group in self.param_groups:
            for parameters in self._divide([p for p in group["params"] if p.grad is not None]):
                self._update(parameters, group)

    def _divide(self, parameters: list[Tensor]) -> Iterator[list[Tensor]]:
        """Parameters whose moments are converted at once, in order."""
        together: list[Tensor] = []
        size = 0
        for parameter in parameters:
            local = _local(parameter)
            own = len(MOMENTS) * local.numel() * local.element_size()
            if together and size + own > self._max_group_bytes:
                yield together
                together, size = [], 0
            together.append(parameter)
            size += own
        if together:
            yield together

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        states = [self._read_state(parameter) for parameter in parameters]
        weights = [_local(parameter) for parameter in parameters]
        stored = {name: [_local(state[name]) for state in states] for name in MOMENTS}
        moments = {name: [torch.empty_like(weight) for weight in weights] for name in MOMENTS}
        for name in MOMENTS:
            torch._foreach_copy_(moments[name], stored[name])
        beta_1, beta_2 = group["betas"]
        adamw(
            weights,
            [_local(parameter.grad) for parameter in parameters],  # type: ignore[arg-type]
            moments["exp_avg"],
            moments["exp_avg_sq"],
            [],
            [state["step"] for state in states],
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
        for name in MOMENTS:
            torch._foreach_copy_(stored[name], moments[name])

    def _read_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The step count and the moments, which are 0 before the first update."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state |= {name: torch.zeros_like(parameter, dtype=torch.bfloat16) for name in MOMENTS}
        return state


def _local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory: its shard, or all of it."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def make_adamw(spec: AdamWSpec, groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    """AdamW over parameter groups, with a rate of 0 until the first step sets one."""
    options: dict[str, Any] = {"lr": 0.0, "betas": (spec.beta_1, spec.beta_2), "eps": spec.epsilon, "fused": True}
    if spec.state_precision != "bf16":
        return torch.optim.AdamW(groups, **options)
    on_gpu = any(parameter.device.type == "cuda" for group in groups for parameter in group["params"])
    return CompactAdamW(groups, max_group_bytes=MAX_GROUP_BYTES if on_gpu else 0, **options)
