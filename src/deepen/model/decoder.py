"""What the families share: embeddings → blocks → norm → head and loss, with the graph cut where a scope says so.

Shapes: b sequences, t tokens of context, d width, h heads, k width of a head, v vocabulary.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deepen.model.config import ModelConfig
from deepen.model.loss import mean_loss, token_losses

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

    def forward(self, tokens_bt: Tensor, targets_bt: Tensor | None = None, *, cut: int | None = None) -> Tensor:
        """Logits (b, t, v) of the next token; where targets are given, their mean loss in nats a token instead.

        `cut` = n cuts the graph below block n: embeddings and the n blocks under it run without gradients
        and store no activations. None leaves the graph whole.
        """
        x_btd = self.top(tokens_bt, cut)
        if targets_bt is None:
            return F.linear(x_btd, self.head_weight)
        return mean_loss(x_btd.flatten(0, 1), self.head_weight, targets_bt.flatten())

    def token_losses(self, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """The loss of every target, (b, t), in nats, without gradients."""
        with torch.no_grad():
            x_nd = self.top(tokens_bt, cut=None).flatten(0, 1)
        return token_losses(x_nd, self.head_weight, targets_bt.flatten()).view(targets_bt.shape)

    @property
    def head_weight(self) -> Tensor:
        """What the top is multiplied with for logits, (v, d): the token embedding's where they are tied."""
        return (self.head or self.token_embedding).weight

    def top(self, tokens_bt: Tensor, cut: int | None) -> Tensor:
        """The normed top of the residual stream, (b, t, d); `cut` as in `forward`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and cut is None):
            x_btd, *shared = self.embed(tokens_bt)
            for block in self.blocks[: cut or 0]:
                x_btd = block(x_btd, *shared)
        for block in self.blocks[cut or 0 :]:
            if self.activation_checkpointing and torch.is_grad_enabled():
                x_btd = checkpoint(block, x_btd, *shared, use_reentrant=False, preserve_rng_state=False)
            else:
                x_btd = block(x_btd, *shared)
        normed_btd: Tensor = self.norm(x_btd)
        return normed_btd


def untied_head(config: ModelConfig) -> nn.Linear | None:
    """The head where it is a matrix of its own."""
    return None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
