"""What the families share: embeddings → blocks → norm → head, with the graph cut where a scope says so.

Shapes: b sequences, t tokens of context, d width, h heads, k width of a head, v vocabulary.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deepen.model.config import ModelConfig

OUTPUT_PROJECTIONS = ("attention.out", "mlp.down")
"""The linears of a block that write to the residual stream: zero them and the block is the identity."""


class Block(nn.Module):
    """One pre-norm residual layer, (b, t, d) → (b, t, d), of a family's parts."""

    def __init__(self, norm_1: nn.Module, attention: nn.Module, norm_2: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm_1 = norm_1
        self.attention = attention
        self.norm_2 = norm_2
        self.mlp = mlp

    def forward(self, x_btd: Tensor, *shared: Tensor) -> Tensor:
        """Add attention, then the MLP, to the residual stream; attention is given what all blocks share."""
        x_btd = x_btd + self.attention(self.norm_1(x_btd), *shared)
        out: Tensor = x_btd + self.mlp(self.norm_2(x_btd))
        return out


class Decoder(nn.Module, ABC):
    """A decoder at a given depth; a family fills in the parts and says how to `embed`.

    With `activation_checkpointing` a block stores its input only and runs forward again in the backward pass.
    """

    token_embedding: nn.Embedding
    blocks: nn.ModuleList
    norm: nn.Module
    head: nn.Linear | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = False

    @abstractmethod
    def embed(self, tokens_bt: Tensor) -> tuple[Tensor, ...]:
        """The bottom of the residual stream, (b, t, d), and whatever every block is given beside it."""

    def forward(self, tokens_bt: Tensor, cut: int | None = None) -> Tensor:
        """Logits (b, t, v) of the next token.

        `cut` = n cuts the graph below block n: embeddings and the n blocks under it run without gradients
        and store no activations. None leaves the graph whole.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and cut is None):
            x_btd, *shared = self.embed(tokens_bt)
            for block in self.blocks[: cut or 0]:
                x_btd = block(x_btd, *shared)
        for block in self.blocks[cut or 0 :]:
            if self.activation_checkpointing and torch.is_grad_enabled():
                x_btd = checkpoint(block, x_btd, *shared, use_reentrant=False, preserve_rng_state=False)
            else:
                x_btd = block(x_btd, *shared)
        return F.linear(self.norm(x_btd), (self.head or self.token_embedding).weight)


def untied_head(config: ModelConfig) -> nn.Linear | None:
    """The head where it is a matrix of its own."""
    return None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
