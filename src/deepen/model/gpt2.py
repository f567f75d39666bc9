"""GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, GELU. Depth is an argument."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepen.model.config import ModelConfig
from deepen.model.decoder import Block, Decoder, untied_head


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
        self.up = nn.Linear(config.width, config.mlp)
        self.down = nn.Linear(config.mlp, config.width)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Transform each position."""
        out: Tensor = self.down(F.gelu(self.up(x_btd), approximate="tanh"))
        return out


def block(config: ModelConfig) -> Block:
    """One residual layer."""
    return Block(nn.LayerNorm(config.width), Attention(config), nn.LayerNorm(config.width), MLP(config))


class GPT2(Decoder):
    """The network at a given depth; weights are undefined until a state is loaded or `init_weights` called.

    Args:
        config: the model at its final depth.
        depth: blocks of this instance, 0 up to any number; `config.depth` where left out.
    """

    def __init__(self, config: ModelConfig, depth: int | None = None) -> None:
        super().__init__(config)
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.depth if depth is None else depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = untied_head(config)

    def embed(self, tokens_bt: Tensor) -> tuple[Tensor]:
        """Token and position embeddings, added."""
        x_btd: Tensor = self.token_embedding(tokens_bt)
        return (torch.add(x_btd, self.position_embedding.weight[: tokens_bt.shape[1]]),)
