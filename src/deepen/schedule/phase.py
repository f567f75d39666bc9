"""Phases and schedules: what is trained, for how many tokens, and how the model grows in between."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from deepen.schedule.grid import round_to_steps
from deepen.schedule.rate import WSD, Rate


class Scope(StrEnum):
    """Which parts are trained, and where the graph is cut. In a first stage every scope trains everything."""

    ALL = "all"
    NEW_BLOCKS = "new-blocks"
    NEW_BLOCKS_HEAD = "new-blocks-head"
    NEW_BLOCKS_EMBEDDINGS = "new-blocks-embeddings"

    @property
    def trains_head(self) -> bool:
        """Whether the final norm and the head (the tied matrix) receive updates."""
        return self is not Scope.NEW_BLOCKS

    @property
    def trains_embeddings(self) -> bool:
        """Whether the embeddings learn through the input side, so that the graph must stay whole."""
        return self in (Scope.ALL, Scope.NEW_BLOCKS_EMBEDDINGS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A stretch of training with one depth, one trainable scope and one token budget.

    `batch_tokens` and `context` are in tokens; 0 means the run's own. `reset_moments` empties the
    optimizer's moments when the phase begins, as rebuilding the optimizer does.
    """

    depth: int
    tokens: int
    label: str
    train: Scope = Scope.ALL
    batch_tokens: int = 0
    context: int = 0
    reset_moments: bool = False

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise ValueError(f"depth of phase {self.label!r} is {self.depth}: it must be 0 or more blocks")
        if self.tokens < 0:
            raise ValueError(f"tokens of phase {self.label!r} is {self.tokens}: it must be 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How a model becomes deeper where a schedule's depth rises.

    An empty `placement` means the operator's own (see growth.operators).
    """

    operator: str = "random"
    placement: str = ""
    moments: str = "keep"


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Phases in order, the way to grow between them, and the learning rate over the whole."""

    phases: tuple[Phase, ...]
    growth: Growth = field(default_factory=Growth)
    lr: Rate = field(default_factory=WSD)

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("phases is empty: a schedule needs at least one phase")
        for before, after in pairwise(self.phases):
            if after.depth < before.depth:
                raise ValueError(
                    f"depth falls from {before.depth} to {after.depth} at {after.label!r}: models only grow deeper"
                )

    @property
    def tokens(self) -> int:
        """Training tokens in all."""
        return sum(phase.tokens for phase in self.phases)

    @property
    def steps(self) -> int:
        """Optimizer steps in all, of a schedule that is in whole steps."""
        return sum(phase.tokens // phase.batch_tokens for phase in self.phases)

    @property
    def depth(self) -> int:
        """Blocks at the end."""
        return self.phases[-1].depth

    def in_steps(self, batch_tokens: int, context: int) -> "Schedule":
        """The schedule as it can be trained: batch and context filled in, phases rounded to whole steps.

        Phase *boundaries* are rounded, not lengths, so that the total does not drift. Phases without tokens
        (a continual phase of none) are dropped; a phase that rounds to no step is an error.
        """
        phases = []
        planned, placed = 0, 0
        for phase in self.phases:
            planned += phase.tokens
            if phase.tokens == 0:
                continue
            batch = phase.batch_tokens or batch_tokens
            steps = round_to_steps(planned - placed, batch)
            if steps < 1:
                raise ValueError(
                    f"phase {phase.label!r} has {phase.tokens:,} tokens, less than one step of {batch:,}: "
                    "use more tokens, fewer stages or a smaller batch"
                )
            placed += steps * batch
            phases.append(
                replace(phase, tokens=steps * batch, batch_tokens=batch, context=phase.context or context)
            )
        if not phases:
            raise ValueError(f"no phase has any tokens: use at least one step of {batch_tokens:,} tokens")
        return replace(self, phases=tuple(phases))
