"""Llama (Touvron et al. 2023, arXiv 2302.13971 and 2307.09288): rotary positions, RMSNorm, SwiGLU, and
grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245). No biases.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepen.model.config import ModelConfig
from deepen.model.decoder import Block, Decoder, make_head

NORM_EPSILON = 1e-5


def rotary_table(config: ModelConfig, context: int, device: torch.device) -> Tensor:
    """Cosines and sines of every position's angles, (2, t, k / 2) fp32.

    Pair i of a head is rotated by position · rope_base^(-2i / k).

    Source: Su et al. 2021 (RoFormer, arXiv 2104.09864, section 3.2.2).
    """
    pairs = torch.arange(0, config.head_width, 2, dtype=torch.float32, device=device)
    frequencies = config.rope_base ** (-pairs / config.head_width)
    angles = torch.outer(torch.arange(context, dtype=torch.float32, device=device), frequencies)
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x_bthk: Tensor, table_2tk: Tensor) -> Tensor:
    """Rotate each pair (i, i + k / 2) by its position's angle; Hugging Face's Llama uses the same pairs."""
    cos_tk, sin_tk = table_2tk[:, :, None].unbind()
    low, high = x_bthk.to(torch.promote_types(x_bthk.dtype, torch.float32)).chunk(2, dim=-1)
    return torch.cat((low * cos_tk - high * sin_tk, high * cos_tk + low * sin_tk), dim=-1).type_as(x_bthk)


class Attention(nn.Module):
    """Causal self-attention with one key-value head per group of query heads, (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_width, self.grouped = config.head_width, config.kv_heads < config.heads
        keys = config.kv_heads * config.head_width
        self.q = nn.Linear(config.width, config.width, bias=False)
        self.k = nn.Linear(config.width, keys, bias=False)
        self.v = nn.Linear(config.width, keys, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x_btd: Tensor, table_2tk: Tensor) -> Tensor:
        """Let each position attend to itself and all earlier ones."""
        b, t, d = x_btd.shape
        q_bthk, k_bthk, v_bthk = (part(x_btd).view(b, t, -1, self.head_width) for part in (self.q, self.k, self.v))
        y_bhtk = F.scaled_dot_product_attention(
            rotate(q_bthk, table_2tk).transpose(1, 2),
            rotate(k_bthk, table_2tk).transpose(1, 2),
            v_bthk.transpose(1, 2),
            is_causal=True,
            enable_gqa=self.grouped,
        )
        out: Tensor = self.out(y_bhtk.transpose(1, 2).reshape(b, t, d))
        return out


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202), (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.mlp, bias=False)
        self.up = nn.Linear(config.width, config.mlp, bias=False)
        self.down = nn.Linear(config.mlp, config.width, bias=False)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Apply the same MLP at every position."""
        out: Tensor = self.down(F.silu(self.gate(x_btd)) * self.up(x_btd))
        return out


def make_block(config: ModelConfig) -> Block:
    """Create one block."""
    return Block(
        nn.RMSNorm(config.width, eps=NORM_EPSILON),
        Attention(config),
        nn.RMSNorm(config.width, eps=NORM_EPSILON),
        MLP(config),
    )


class Llama(Decoder):
    """The Llama network at a given depth."""

    def __init__(self, config: ModelConfig, depth: int | None = None) -> None:
        super().__init__(config, depth)
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(make_block(config) for _ in range(self.depth))
        self.norm = nn.RMSNorm(config.width, eps=NORM_EPSILON)
        self.head = make_head(config)

    def embed(self, tokens_bt: Tensor) -> tuple[Tensor, Tensor]:
        """Token embeddings, and the rotary table that every block uses."""
        x_btd: Tensor = self.token_embedding(tokens_bt)
        return x_btd, rotary_table(self.config, tokens_bt.shape[1], tokens_bt.device)
