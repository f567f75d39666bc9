"""Muon for the blocks' matrices, torch's own, and AdamW for everything else, as one optimizer.

Muon's update of a matrix is its momentum, orthogonalized by Newton–Schulz iterations in bf16, and scaled so that
its root mean square is about that of AdamW's updates: one learning rate suits both.

Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon); Liu et al. 2025 (arXiv 2502.16982, section 2.2).
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim._muon import muon

from deepen.train.optim.adamw import make_adamw
from deepen.train.optim.spec import MuonSpec


class ShardMuon(torch.optim.Muon):
    """torch's Muon for matrices that are sharded (FSDP2).

    Momentum and weights stay sharded. Each process gathers one update at a time, in bf16 as it is orthogonalized,
    orthogonalizes all of it, and applies its own rows, so the result is that of one process. (torch's own step can
    do it on shards too, with ten all-gathers for a matrix, and other roundings than in one process.)
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update_shard(parameter, parameter.grad, group)

    def _update_shard(self, parameter: Any, gradient: Any, group: dict[str, Any]) -> None:
        """Update one sharded matrix.

        torch's function updates momentum and weights too. Here it gets a zero matrix with no momentum, which turns
        into the whole change of the weights.
        """
        state, momentum = self.state[parameter], group["momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = gradient.lerp(average, momentum) if group["nesterov"] else average
        whole = update.bfloat16().full_tensor()
        change = torch.zeros(whole.shape, dtype=parameter.dtype, device=whole.device)
        muon(
            [change],
            [whole],
            [torch.zeros_like(whole)],
            lr=group["lr"],
            weight_decay=0.0,
            momentum=0.0,
            nesterov=False,
            ns_coefficients=group["ns_coefficients"],
            ns_steps=group["ns_steps"],
            eps=group["eps"],
            adjust_lr_fn=group["adjust_lr_fn"],
            has_complex=False,
        )
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(_shard(change, parameter))


def _shard(whole: Tensor, like: Any) -> Tensor:
    """The shard of a tensor that every process has in full; nothing is sent."""
    from torch.distributed.tensor import DTensor, Replicate  # a slow import, for sharded models only

    mesh = like.device_mesh
    replicated = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim, run_check=False)
    shard: Tensor = replicated.redistribute(placements=like.placements)
    return shard


class MuonAndAdamW(torch.optim.Optimizer):
    """Two optimizers as one: their groups are listed together, and their states are one dictionary."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        self._share()

    def _share(self) -> None:
        """Let the parts use the groups and the state of the whole."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take loaded groups and state (`load_state_dict`)."""
        super().__setstate__(state)
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step of both."""
        for part in self.parts:
            part.step()


def make_muon(spec: MuonSpec, groups: list[dict[str, Any]]) -> MuonAndAdamW:
    """Muon over the groups that have a momentum, and AdamW over the others; rates are 0 until the first step."""
    matrices = [group for group in groups if "momentum" in group]
    others = [group for group in groups if "momentum" not in group]
    parts: list[torch.optim.Optimizer] = []
    if matrices:
        is_sharded = any(hasattr(parameter, "full_tensor") for parameter in matrices[0]["params"])
        parts.append((ShardMuon if is_sharded else torch.optim.Muon)(matrices, lr=0.0))
    if others:
        parts.append(make_adamw(spec, others))
    return MuonAndAdamW(*parts)
