"""Llama (Touvron et al. 2023, arXiv 2302.13971 and 2307.09288): rotary positions, RMSNorm, SwiGLU, and
grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245).

Its options make it the other decoders of this kind: biases of queries, keys and values (Qwen2, arXiv 2407.10671),
norms of queries and keys (Qwen3, arXiv 2505.09388), and norms after attention and MLP (OLMo 2, arXiv 2501.00656).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepen.model.branches import branch_positions, visible_tokens
from deepen.model.config import ModelConfig
from deepen.model.decoder import Block, Decoder, make_head
from deepen.model.families import FAMILIES
from deepen.model.rotary import rotary_table, rotate


class RMSNorm(nn.RMSNorm):
    """RMSNorm in fp32 or better, also of bf16 input, which it returns in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        """Divide the last dimension by its root mean square and multiply it by the gains."""
        return super().forward(x.to(torch.promote_types(x.dtype, torch.float32)))


class Attention(nn.Module):
    """Causal self-attention with one key-value head per group of query heads, (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_width, self.grouped = config.head_width, config.kv_heads < config.heads
        self.q = _make_linear(config, "attention.q")
        self.k = _make_linear(config, "attention.k")
        self.v = _make_linear(config, "attention.v")
        self.out = _make_linear(config, "attention.out")
        self.norms_all_heads = config.qk_norm == "all-heads"
        self.q_norm = _make_qk_norm(config, config.query_width)
        self.k_norm = _make_qk_norm(config, config.key_width)

    def forward(self, x_btd: Tensor, table_2tk: Tensor, visible_b1tt: Tensor | None = None) -> Tensor:
        """Let each position attend to itself and all earlier ones, or to those that are visible to it."""
        q_bthk = self._split(self.q(x_btd), self.q_norm)
        k_bthk = self._split(self.k(x_btd), self.k_norm)
        v_bthk = self._split(self.v(x_btd))
        y_bhtk = F.scaled_dot_product_attention(
            rotate(q_bthk, table_2tk).type_as(v_bthk).transpose(1, 2),
            rotate(k_bthk, table_2tk).type_as(v_bthk).transpose(1, 2),
            v_bthk.transpose(1, 2),
            attn_mask=visible_b1tt,
            is_causal=visible_b1tt is None,
            enable_gqa=self.grouped,
        )
        out: Tensor = self.out(y_bhtk.transpose(1, 2).flatten(2))
        return out

    def _split(self, x_btd: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Split into heads, (b, t, h, k), which are normalized all together before, or each afterwards."""
        if norm is not None and self.norms_all_heads:
            x_btd = norm(x_btd)
        x_bthk = x_btd.view(*x_btd.shape[:2], -1, self.head_width)
        return norm(x_bthk) if norm is not None and not self.norms_all_heads else x_bthk


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202), (b, t, d) → (b, t, d)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = _make_linear(config, "mlp.gate")
        self.up = _make_linear(config, "mlp.up")
        self.down = _make_linear(config, "mlp.down")

    def forward(self, x_btd: Tensor) -> Tensor:
        """Apply the same MLP at every position."""
        out: Tensor = self.down(F.silu(self.gate(x_btd)) * self.up(x_btd))
        return out


class PostNormBlock(Block):
    """A block whose norms come after attention and MLP, as in OLMo 2."""

    def forward(self, x_btd: Tensor, *shared: Tensor) -> Tensor:
        """Add normalized attention, then the normalized MLP, to the residual stream."""
        x_btd = torch.add(x_btd, self.norm_1(self.attention(x_btd, *shared)), alpha=self.scale)
        return torch.add(x_btd, self.norm_2(self.mlp(x_btd)), alpha=self.scale)


def make_block(config: ModelConfig) -> Block:
    """Create one block."""
    kind = Block if config.norm_position == "pre" else PostNormBlock
    return kind(_make_norm(config), Attention(config), _make_norm(config), MLP(config))


def _make_linear(config: ModelConfig, name: str) -> nn.Linear:
    """Create a linear of a block by its name."""
    inputs, outputs = config.block_linears[name]
    return nn.Linear(inputs, outputs, bias=FAMILIES[config.family].has_bias(config, name))


def _make_qk_norm(config: ModelConfig, all_heads: int) -> RMSNorm | None:
    """Create the norm of queries or keys, whose width is `all_heads` for all heads together."""
    if config.qk_norm == "none":
        return None
    return RMSNorm(all_heads if config.qk_norm == "all-heads" else config.head_width, eps=config.norm_epsilon)


def _make_norm(config: ModelConfig) -> RMSNorm:
    return RMSNorm(config.width, eps=config.norm_epsilon)


class Llama(Decoder):
    """The Llama network at a given depth."""

    def __init__(self, config: ModelConfig, depth: int | None = None) -> None:
        super().__init__(config, depth)
        self.token_embedding = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(make_block(config) for _ in range(self.depth))
        self.norm = _make_norm(config)
        self.head = make_head(config)

    def embed(self, tokens_bt: Tensor, branches_bt: Tensor | None = None) -> tuple[Tensor, ...]:
        """Token embeddings, and the rotary table that every block uses."""
        x_btd: Tensor = self.token_embedding(tokens_bt)
        if branches_bt is None:
            return x_btd, rotary_table(self.config, tokens_bt.shape[1], tokens_bt.device)
        visible_b1tt = visible_tokens(branches_bt)
        table_2tk = rotary_table(self.config, self.config.context, tokens_bt.device)
        return x_btd, table_2tk[:, branch_positions(visible_b1tt, self.config.context)], visible_b1tt
