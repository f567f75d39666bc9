"""GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, GELU, tied head. Depth is an argument.

Shapes: b sequences, t tokens of context, d width, h heads, k width of a head, v vocabulary.
"""

import hashlib
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepen.model.config import ModelConfig

OUTPUT_PROJECTIONS = ("attention.out", "mlp.down")
"""The linears of a block that write to the residual stream: zero them and the block is the identity."""


class Attention(nn.Module):
    """Causal multi-head self-attention, (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Attend."""
        b, t, d = x_btd.shape
        q_bhtk, k_bhtk, v_bhtk = self.qkv(x_btd).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y_bhtk = F.scaled_dot_product_attention(q_bhtk, k_bhtk, v_bhtk, is_causal=True)
        out: Tensor = self.out(y_bhtk.transpose(1, 2).reshape(b, t, d))
        return out


class MLP(nn.Module):
    """Two linears with GELU (tanh form, as GPT-2) between, (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Transform each position."""
        out: Tensor = self.down(F.gelu(self.up(x_btd), approximate="tanh"))
        return out


class Block(nn.Module):
    """One residual layer, (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.norm_2 = nn.LayerNorm(config.width)
        self.mlp = MLP(config)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Add attention, then the MLP, to the residual stream."""
        x_btd = x_btd + self.attention(self.norm_1(x_btd))
        out: Tensor = x_btd + self.mlp(self.norm_2(x_btd))
        return out


class GPT2(nn.Module):
    """The network at a given depth; weights are undefined until a state is loaded or `init_weights` called.

    Args:
        config: the model at its final depth.
        depth: blocks of this instance, 0 up to any number; `config.depth` where left out.
    """

    def __init__(self, config: ModelConfig, depth: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth if depth is None else depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens_bt: Tensor, cut: int | None = None) -> Tensor:
        """Logits (b, t, v) of the next token.

        `cut` = n cuts the graph below block n: embeddings and the n blocks under it run without gradients
        and store no activations. None leaves the graph whole.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and cut is None):
            x_btd = self.token_embedding(tokens_bt) + self.position_embedding.weight[: tokens_bt.shape[1]]
            for block in self.blocks[: cut or 0]:
                x_btd = block(x_btd)
        for block in self.blocks[cut or 0 :]:
            x_btd = block(x_btd)
        return F.linear(self.norm(x_btd), self.token_embedding.weight)


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A random stream of its own for each purpose, so that no draw depends on the path that led to it."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def init_block(config: ModelConfig, seed: int, number: int) -> dict[str, Tensor]:
    """Fresh weights of one block, by name within the block.

    GPT-2: normal(`config.init_std`), biases 0, norms 1; output projections × (2·depth)^-½, where depth
    is the *final* depth, so that a block born late is like one that was there from the start.

    Args:
        number: order of birth of the block, the key of its random stream; in a model that was made whole,
            its index.
    """
    draw = generator(seed, "block", number)
    weights = {}
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Block(config).state_dict().items()}
    for name, shape in shapes.items():
        if name.endswith("bias"):
            weights[name] = torch.zeros(shape)
        elif name.startswith("norm"):
            weights[name] = torch.ones(shape)
        else:
            residual = name.removesuffix(".weight") in OUTPUT_PROJECTIONS
            std = config.init_std / (math.sqrt(2 * config.depth) if residual else 1)
            weights[name] = torch.empty(shape).normal_(std=std, generator=draw)
    return weights


def init_weights(config: ModelConfig, depth: int, seed: int) -> dict[str, Tensor]:
    """Fresh weights of a whole model of `depth` blocks, by parameter name, fp32 on the CPU."""
    draw = generator(seed, "embeddings")
    weights = {
        "token_embedding.weight": torch.empty(config.vocab, config.width).normal_(
            std=config.init_std, generator=draw
        ),
        "position_embedding.weight": torch.empty(config.context, config.width).normal_(
            std=config.init_std, generator=draw
        ),
    }
    for index in range(depth):
        weights |= {f"blocks.{index}.{name}": w for name, w in init_block(config, seed, index).items()}
    return weights | {"norm.weight": torch.ones(config.width), "norm.bias": torch.zeros(config.width)}
