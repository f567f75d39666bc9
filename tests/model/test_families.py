"""A third family needs an entry and a network, and nothing else."""

import sys
import types
from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepen.compute.ledger import Ledger
from deepen.compute.memory import phase_memory
from deepen.compute.memory_settings import MemorySettings
from deepen.growth.grow import grow
from deepen.growth.spec import Growth
from deepen.model.branches import visible_tokens
from deepen.model.build import build, init_weights
from deepen.model.config import ModelConfig
from deepen.model.decoder import Block, Decoder, make_head
from deepen.model.families import FAMILIES, Gpt2Family
from deepen.model.sizes import Sizes
from deepen.schedule.phase import Phase
from deepen.train.state import initial_state


class Attention(nn.Module):
    """One matrix for keys and values together, one for queries."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = nn.Linear(config.width, config.width, bias=False)
        self.kv = nn.Linear(config.width, 2 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x_btd: Tensor, visible_b1tt: Tensor | None = None) -> Tensor:
        b, t, d = x_btd.shape
        parts = (self.q(x_btd), *self.kv(x_btd).chunk(2, dim=-1))
        heads = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in parts)
        y_bhtk = F.scaled_dot_product_attention(*heads, attn_mask=visible_b1tt, is_causal=visible_b1tt is None)
        return self.out(y_bhtk.transpose(1, 2).reshape(b, t, d))


class MLP(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.mlp, bias=False)
        self.down = nn.Linear(config.mlp, config.width, bias=False)

    def forward(self, x_btd: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x_btd)))


class Network(Decoder):
    def __init__(self, config: ModelConfig, depth: int | None = None) -> None:
        super().__init__(config, depth)

        def norm() -> nn.Module:
            return nn.LayerNorm(config.width, bias=False)

        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(
            Block(norm(), Attention(config), norm(), MLP(config)) for _ in range(self.depth)
        )
        self.norm = norm()
        self.head = make_head(config)

    def embed(self, tokens_bt: Tensor, branches_bt: Tensor | None = None) -> tuple[Tensor, ...]:
        x_btd = self.token_embedding(tokens_bt)
        return (x_btd,) if branches_bt is None else (x_btd, visible_tokens(branches_bt))


class NoPositions(Gpt2Family):
    """A GPT-2 without positions and biases."""

    name = "no-positions"
    network = "third_family:Network"
    biases: ClassVar[Mapping[str, tuple[str, ...]]] = {"none": ()}
    norms_have_biases = False
    has_position_table = False

    def block_linears(self, sizes: Sizes) -> Mapping[str, tuple[int, int]]:
        return {
            "attention.q": (sizes.width, sizes.width),
            "attention.kv": (sizes.width, 2 * sizes.width),
            "attention.out": (sizes.width, sizes.width),
            "mlp.up": (sizes.width, sizes.mlp),
            "mlp.down": (sizes.mlp, sizes.width),
        }


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    module = types.ModuleType("third_family")
    module.Network = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "third_family", module)
    monkeypatch.setitem(FAMILIES, "no-positions", NoPositions())
    return ModelConfig(name="third", family="no-positions", depth=3, width=16, heads=2, context=8, vocab=32)


def test_its_network_has_the_parameters_and_costs_of_its_entry(third: ModelConfig):
    network = build(third)
    network.load_state_dict(init_weights(third, third.depth, seed=0))
    assert third.parameters == sum(parameter.numel() for parameter in network.parameters())
    for name, (inputs, outputs) in third.block_linears.items():
        assert network.blocks[0].get_submodule(name).weight.shape == (outputs, inputs)
    phase = Phase(depth=3, tokens=64, label="x", batch_tokens=64, context=8)
    trained = phase.train.resolve(3, ())
    flops = Ledger(model=third).flops_per_token(trained, 8)
    matrices = 3 * (4 * 16 * 16 + 2 * 16 * 64) + 16 * 32
    assert flops == 6 * matrices + 3 * 6 * 2 * 16 * 8  # and attention, all pairs of positions
    assert phase_memory(third, phase, trained, MemorySettings()).peak > 4 * 4 * third.parameters


def test_it_grows_to_the_identity(third: ModelConfig):
    state = initial_state(third, 1, seed=0)
    grown = grow(state, 3, Growth(operator="identity"), third)
    tokens = torch.arange(8)[None]
    shallow, deep = build(third, 1), build(third, 3)
    shallow.load_state_dict(dict(state.weights))
    deep.load_state_dict(dict(grown.weights))
    assert torch.allclose(shallow(tokens), deep(tokens), atol=1e-6)
