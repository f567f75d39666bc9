"""What is evaluated: anything that gives the losses of tokens, one process's model or many processes' together."""

from typing import Protocol

from torch import Tensor


class Scorer(Protocol):
    """Gives the loss of every target."""

    def token_losses(self, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """The loss of every target, (b, t), in nats, without gradients."""
