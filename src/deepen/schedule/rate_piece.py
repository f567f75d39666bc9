"""A piece of a learning rate: explicit in tokens of the run, so that training depends on nothing else."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SHAPES: Mapping[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    "cosine": lambda share: (1 - math.cos(math.pi * share)) / 2,
    "sqrt": math.sqrt,
}
"""How much of its change a rate has made after a share of a piece. A decay in the shape "sqrt" is 1 − √share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RatePiece:
    """The rate between two positions of a run, from `start_lr` to `end_lr`.

    `shape` is one of `SHAPES`, or "constant"; a constant piece has no end.
    """

    shape: str
    start: int
    end: int | None
    start_lr: float
    end_lr: float

    @classmethod
    def constant(cls, start: int, lr: float) -> "RatePiece":
        """A constant rate from `start` on."""
        return cls(shape="constant", start=start, end=None, start_lr=lr, end_lr=lr)

    def at(self, tokens: int) -> float:
        """The rate of the step that begins after `tokens` tokens of the run."""
        if self.end is None:
            return self.start_lr
        share = SHAPES[self.shape]((tokens - self.start) / (self.end - self.start))
        return self.start_lr + share * (self.end_lr - self.start_lr)

    def has_decayed(self, tokens: int) -> bool:
        """Whether the rate has fallen by the time that `tokens` tokens of the run are trained."""
        return self.end_lr < self.start_lr and self.start < tokens
