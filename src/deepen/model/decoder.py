"""What all families share: embeddings → blocks → norm → head and loss, and an autograd graph that can be cut.

Shapes: b sequences, t tokens of context, d width, h heads, k width of a head, v vocabulary.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from deepen.model.config import ModelConfig
from deepen.model.logit_gradients import STEPWISE, LogitGradients
from deepen.model.loss import mean_loss, token_scores


class Block(nn.Module):
    """One residual layer, (b, t, d) → (b, t, d), made of a family's norms, attention and MLP; norms come first.

    `scale` multiplies what attention and MLP add to the residual stream (`build` sets it to the decoder's).
    """

    scale = 1.0

    def __init__(self, norm_1: nn.Module, attention: nn.Module, norm_2: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm_1 = norm_1
        self.attention = attention
        self.norm_2 = norm_2
        self.mlp = mlp

    def forward(self, x_btd: Tensor, *shared: Tensor) -> Tensor:
        """Add attention, then the MLP, to the residual stream. All blocks get the same `shared` (see `embed`)."""
        x_btd = torch.add(x_btd, self.attention(self.norm_1(x_btd), *shared), alpha=self.scale)
        return torch.add(x_btd, self.mlp(self.norm_2(x_btd)), alpha=self.scale)


class Decoder(nn.Module, ABC):
    """A decoder of a given depth. A family's subclass creates the modules and implements `embed`.

    Weights are undefined until a state is loaded (`init_weights` draws fresh ones). With
    `activation_checkpointing` a block stores only its input and runs forward again in the backward pass.
    `logit_gradients` is how the loss is computed. `replays_graphs` means that blocks run as CUDA graphs.

    Args:
        config: the model at its final depth.
        depth: stored blocks of this instance, 0 or more; by default `config.depth`.

    `layers` lists the stored block of each executed layer, bottom to top: each block once, unless it is set.
    """

    token_embedding: nn.Embedding
    blocks: nn.ModuleList
    norm: nn.Module
    head: nn.Linear | None

    def __init__(self, config: ModelConfig, depth: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.depth = config.depth if depth is None else depth
        self.layers = tuple(range(self.depth))
        self.activation_checkpointing = False
        self.logit_gradients: LogitGradients = STEPWISE
        self.replays_graphs = False

    @abstractmethod
    def embed(self, tokens_bt: Tensor, branches_bt: Tensor | None = None) -> tuple[Tensor, ...]:
        """The input of the first block, (b, t, d), and the tensors that every block takes as `shared`.

        Args:
            tokens_bt: input tokens.
            branches_bt: the branch of each token (see `branches`); None where rows are plain texts.
        """

    def forward(self, tokens_bt: Tensor, targets_bt: Tensor | None = None, *, cut: int | None = None) -> Tensor:
        """Logits (b, t, v) of the next token or, given targets, their mean loss in nats per token.

        Args:
            tokens_bt: input tokens.
            targets_bt: the next token at each position.
            cut: how many of the lowest layers run, together with the embeddings, without gradients and without
                storing activations; None keeps the graph whole.
        """
        x_btd = self.hidden_states(tokens_bt, cut)
        if targets_bt is None:
            return F.linear(x_btd, self.head_weight)
        x_nd, targets_n = x_btd.flatten(0, 1), targets_bt.flatten()
        return mean_loss(x_nd, self.head_weight, targets_n, logit_gradients=self.logit_gradients)

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None) -> Tensor:
        """The loss of every target in nats, and 1 where it is the likeliest token, else 0: (b, t, 2).

        Without gradients. A target below 0 is not scored: both are 0. `branches_bt` as in `embed`.
        """
        scored_bt = targets_bt >= 0
        with torch.no_grad():
            x_nd = self.hidden_states(tokens_bt, None, branches_bt)[scored_bt]
        scores_n2 = token_scores(x_nd, self.head_weight, targets_bt[scored_bt])
        scores_bt2 = scores_n2.new_zeros(*targets_bt.shape, 2)
        scores_bt2[scored_bt] = scores_n2
        return scores_bt2

    @property
    def branch_scale(self) -> float:
        """What multiplies the output of each attention and MLP, by the number of executed layers."""
        return self.config.branch_scale(len(self.layers))

    @property
    def head_weight(self) -> Tensor:
        """The matrix that computes logits, (v, d): the head's, or the token embedding's if they are tied."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def hidden_states(self, tokens_bt: Tensor, cut: int | None, branches_bt: Tensor | None = None) -> Tensor:
        """The normalized output of the last layer, (b, t, d).

        Args:
            tokens_bt: input tokens.
            cut: as in `forward`.
            branches_bt: as in `embed`.
        """
        if self.replays_graphs:  # until the next mark, no block overwrites what another one computed
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        frozen = 0 if cut is None else cut
        layers = [self.blocks[block] for block in self.layers]
        with torch.set_grad_enabled(torch.is_grad_enabled() and cut is None):
            x_btd, *shared = self.embed(tokens_bt, branches_bt)
            for block in layers[:frozen]:
                x_btd = block(x_btd, *shared)
        for block in layers[frozen:]:
            if self.activation_checkpointing and torch.is_grad_enabled():
                x_btd = checkpoint(block, x_btd, *shared, use_reentrant=False, preserve_rng_state=False)
            else:
                x_btd = block(x_btd, *shared)
        normed_btd: Tensor = self.norm(x_btd)
        return normed_btd


def make_head(config: ModelConfig) -> nn.Linear | None:
    """A head with its own matrix, or None if it is tied to the token embedding."""
    return None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
