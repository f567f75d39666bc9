"""Buffers of blocks in models of other people, such as nanoGPT's causal mask: copied, never mixed or noisy."""

import pytest
import torch
from torch import Tensor, nn

from deepen.growth.spec import Growth
from deepen.interop.loops import grow_model


class Block(nn.Module):
    mask: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("mask", torch.tril(torch.ones(1, 1, 4, 4)))
        self.register_buffer("calls", torch.tensor(3))


class Blocks(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(depth))


@pytest.mark.parametrize("growth", [Growth(operator="interpolate"), Growth(operator="stack", noise=0.1)])
def test_growth_leaves_masks_and_counters_as_they_were(growth: Growth):
    model, deeper = Blocks(2), Blocks(4)
    for block in model.blocks:
        assert isinstance(block, Block)
        block.calls += 1
    grow_model(model, deeper, growth)
    changed = [
        name
        for name, tensor in deeper.state_dict().items()
        if name.endswith("weight") and not any(torch.equal(tensor, block.linear.weight) for block in model.blocks)
    ]
    assert changed  # copies differ from their source
    for block in deeper.blocks:
        assert isinstance(block, Block)
        assert torch.equal(block.mask, torch.tril(torch.ones(1, 1, 4, 4))) and block.calls == 4
