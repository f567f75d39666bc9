"""GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, GELU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepen.model.branches import branch_positions, visible_tokens
from deepen.model.config import ModelConfig
from deepen.model.decoder import Block, Decoder, make_head


class Attention(nn.Module):
    """Causal multi-head self-attention, (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x_btd: Tensor, visible_b1tt: Tensor | None = None) -> Tensor:
        """Let each position attend to itself and all earlier ones, or to those that are visible to it."""
        b, t, d = x_btd.shape
        q_bhtk, k_bhtk, v_bhtk = self.qkv(x_btd).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y_bhtk = F.scaled_dot_product_attention(
            q_bhtk, k_bhtk, v_bhtk, attn_mask=visible_b1tt, is_causal=visible_b1tt is None
        )
        out: Tensor = self.out(y_bhtk.transpose(1, 2).reshape(b, t, d))
        return out


class MLP(nn.Module):
    """Two linears with a GELU between them (tanh form, as in GPT-2), (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.mlp)
        self.down = nn.Linear(config.mlp, config.width)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Apply the same MLP at every position."""
        out: Tensor = self.down(F.gelu(self.up(x_btd), approximate="tanh"))
        return out


def make_block(config: ModelConfig) -> Block:
    """Create one block."""
    return Block(make_norm(config), Attention(config), make_norm(config), MLP(config))


def make_norm(config: ModelConfig) -> nn.LayerNorm:
    """Create a norm of the residual stream."""
    return nn.LayerNorm(config.width, eps=config.norm_epsilon)


class GPT2(Decoder):
    """The GPT-2 network at a given depth."""

    def __init__(self, config: ModelConfig, depth: int | None = None) -> None:
        super().__init__(config, depth)
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(make_block(config) for _ in range(self.depth))
        self.norm = make_norm(config)
        self.head = make_head(config)

    def embed(self, tokens_bt: Tensor, branches_bt: Tensor | None = None) -> tuple[Tensor, ...]:
        """The sum of token and position embeddings."""
        x_btd: Tensor = self.token_embedding(tokens_bt)
        if branches_bt is None:
            return (torch.add(x_btd, self.position_embedding.weight[: tokens_bt.shape[1]]),)
        visible_b1tt = visible_tokens(branches_bt)
        return x_btd + self.position_embedding(branch_positions(visible_b1tt, self.config.context)), visible_b1tt
