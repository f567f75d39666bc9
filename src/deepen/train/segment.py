"""A segment: a stretch of training with one model and one batch size, and everything that determines it.

It needs no torch, so that a study can be compiled and priced without.
"""

from dataclasses import dataclass, field

from deepen.errors import InvalidValueError
from deepen.growth.spec import GrowthStep
from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.rewarm import Rewarm
from deepen.schedule.trainable import TrainedParts


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Train from `start` to `end` with one depth, one trained set, one batch and one piece of the learning rate.

    Args:
        depth: stored blocks of the model.
        trains: which of its parts receive updates.
        start, end: in tokens of the run.
        batch_tokens: tokens of a step.
        context: tokens of a sequence.
        rate: the learning rate at every token of the segment, apart from `rewarm`.
        growth: what each block becomes when the segment begins; None if the model does not grow then.
        reset_moments: whether the segment begins with an empty optimizer state.
        flops_per_step: the ledger's price, which follows from the other fields.
        label: the phase's label, for people and logs.
        changes_context: whether the sequences before the segment have another length.
        rewarm: the rise of the rate after growth, throughout the segment; None if there is none.

    Raises:
        InvalidValueError: the segment is not whole steps of whole sequences, so that training would pass its end,
            or read some tokens twice or never.
    """

    depth: int
    trains: TrainedParts
    start: int
    end: int
    batch_tokens: int
    context: int
    rate: RatePiece
    growth: GrowthStep | None
    reset_moments: bool
    flops_per_step: int = field(metadata={"identity": False})
    label: str = field(metadata={"identity": False})
    changes_context: bool = False
    rewarm: Rewarm | None = None

    def __post_init__(self) -> None:
        tokens, batch, context = self.end - self.start, self.batch_tokens, self.context
        if tokens < 1 or batch < 1 or tokens % batch:
            raise InvalidValueError(
                f"of {self.label!r} are {self.start:,} to {self.end:,}, not whole steps of {batch:,}",
                field="tokens",
                value=tokens,
            )
        if context < 1 or batch % context or self.start % context:
            raise InvalidValueError(
                f"of {self.label!r} is {context:,}: it must divide the {batch:,} tokens of a step and the "
                f"{self.start:,} before",
                field="context",
                value=context,
            )

    @property
    def layers(self) -> int:
        """Layers that the model executes; more than `depth` where layers share blocks."""
        return len(self.trains.executed)

    @property
    def rewarmed_blocks(self) -> tuple[int, ...]:
        """Indices of the blocks whose rate rises apart from that of the others."""
        return () if self.rewarm is None else self.rewarm.blocks

    def rates_at(self, tokens: int) -> tuple[float, float]:
        """The learning rate of the step that begins after `tokens` tokens, and its factor for rewarmed blocks."""
        lr = self.rate.at(tokens)
        if self.rewarm is None:
            return lr, 1.0
        share = self.rewarm.at(tokens)
        return (lr, share) if self.rewarm.blocks else (lr * share, 1.0)

    @property
    def tokens(self) -> int:
        """Tokens of the whole segment."""
        return self.end - self.start

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole segment."""
        return self.tokens // self.batch_tokens

    @property
    def flops(self) -> int:
        """FLOPs of the whole segment."""
        return self.steps * self.flops_per_step

    def price(self, tokens: int) -> int:
        """FLOPs of training `tokens` tokens, which are whole steps."""
        return tokens // self.batch_tokens * self.flops_per_step
