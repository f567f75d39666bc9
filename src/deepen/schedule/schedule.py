"""Schedules: phases in order, how the model grows between them, and the learning rate over the whole run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate

from deepen.errors import InvalidValueError, is_whole
from deepen.growth.spec import Growth, GrowthStep
from deepen.schedule.grid import StepGrid
from deepen.schedule.phase import Phase
from deepen.schedule.plateau import Trigger
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.trainable import Trainable, TrainedParts
from deepen.schedule.whole_steps import round_phases


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Phases in order, how the model grows between them, and the learning rate over the whole run.

    Attributes:
        phases: the phases.
        growth: how the model grows where the depth rises, except in phases with a growth of their own.
        rate: the learning rate.
        start_depth: blocks of the checkpoint with which training begins, where the first phase grows it; None
            where the first phase begins with the model as it is.
    """

    phases: tuple[Phase, ...]
    growth: Growth = field(default_factory=Growth)
    rate: Rate = field(default_factory=WSD)
    start_depth: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.phases, Iterable):
            raise InvalidValueError(
                f"is {self.phases!r}: it must be a sequence of phases", field="phases", value=self.phases
            )
        object.__setattr__(self, "phases", tuple(self.phases))
        if not self.phases:
            raise InvalidValueError("is empty: a schedule needs at least one phase", field="phases", value=())
        for phase in self.phases:
            if not isinstance(phase, Phase):
                raise InvalidValueError(f"has {phase!r}, which is not a Phase", field="phases", value=phase)
        if not isinstance(self.growth, Growth):
            raise InvalidValueError(f"is {self.growth!r}: use Growth(...)", field="growth", value=self.growth)
        if not isinstance(self.rate, Rate):
            raise InvalidValueError(
                f"is {self.rate!r}: use WSD(...), Cosine(...) or Constant(...)", field="rate", value=self.rate
            )
        if not (self.start_depth is None or (is_whole(self.start_depth) and self.start_depth >= 0)):
            raise InvalidValueError(
                f"is {self.start_depth!r}: it must be a whole number of 0 or more",
                field="start_depth",
                value=self.start_depth,
            )
        depths = (self.depth_at_start, *(phase.blocks for phase in self.phases))
        for before, after in zip(depths, self.phases, strict=False):
            if after.blocks < before:
                raise InvalidValueError(
                    f"falls from {before} to {after.blocks} at {after.label!r}: models only grow deeper",
                    field="depth",
                    value=after.blocks,
                )
        _ = self.growth_steps  # raises if a growth does not fit the depths

        if self.phases[-1].until is not None:
            raise InvalidValueError(
                f"of {self.phases[-1].label!r} ends the last phase early, and no phase follows",
                field="until",
                value=self.phases[-1].until,
            )

    @property
    def depth_at_start(self) -> int:
        """Stored blocks before the first phase."""
        return self.phases[0].blocks if self.start_depth is None else self.start_depth

    @property
    def tokens(self) -> int:
        """Total training tokens."""
        return sum(phase.tokens for phase in self.phases)

    @property
    def steps(self) -> int:
        """Total optimizer steps of a schedule in whole steps."""
        return sum(phase.steps for phase in self.phases)

    @property
    def grid(self) -> StepGrid:
        """The step positions of a schedule in whole steps."""
        ends = accumulate(phase.tokens for phase in self.phases)
        sizes = [phase.batch_tokens for phase in self.phases]
        return StepGrid(stretches=tuple(zip(ends, sizes, strict=True)))

    @property
    def depth(self) -> int:
        """Layers executed at the end."""
        return self.phases[-1].depth

    def growth_at(self, place: int) -> Growth:
        """How the model grows where a phase begins, by its place, if blocks are added there."""
        own = self.phases[place].growth
        return self.growth if own is None else own

    @property
    def growth_steps(self) -> tuple[GrowthStep | None, ...]:
        """For each phase, what each block becomes where it begins; None where no blocks are added."""
        steps: list[GrowthStep | None] = []
        depth = self.depth_at_start
        layers: tuple[int, ...] = ()
        for place, phase in enumerate(self.phases):
            grows = phase.blocks > depth
            steps.append(self.growth_at(place).resolve(depth, phase.blocks, layers) if grows else None)
            depth, layers = phase.blocks, phase.layers
        return tuple(steps)

    @property
    def trained_parts(self) -> tuple[TrainedParts, ...]:
        """What each phase trains, with the new blocks by index."""
        parts: list[TrainedParts] = []
        new_blocks = tuple(range(self.depth_at_start))  # at first all blocks are new
        for phase, step in zip(self.phases, self.growth_steps, strict=True):
            if step is not None:
                new_blocks = step.new_blocks
            parts.append(_resolve(phase.train, phase.blocks, new_blocks, phase.layers))
        return tuple(parts)

    @property
    def has_trigger(self) -> bool:
        """Whether a plateau may end one of the phases."""
        return any(phase.until is not None for phase in self.phases)

    @property
    def trigger(self) -> Trigger | None:
        """The first phase that a plateau may end, of a schedule in whole steps; None if every length is known.

        Raises:
            InvalidValueError: the plateau can never end the phase early.
        """
        begin = 0
        for phase in self.phases:
            latest = begin + phase.tokens
            if phase.until is not None:
                batch_tokens = phase.batch_tokens
                return Trigger.place(
                    phase.until, phase.label, begin=begin, latest=latest, batch_tokens=batch_tokens
                )
            begin = latest
        return None

    def decided(self, ends: Sequence[int]) -> "Schedule":
        """The schedule in which the first phases with `until` end at given positions.

        The tokens that a phase does not use go to the phases after it, so that the total stays the same.

        Args:
            ends: where these phases end, in tokens of the run.
        """
        if not ends:
            return self
        phases, left, total = [], list(ends), self.tokens
        begin = end = 0
        for phase, planned_end in zip(self.phases, accumulate(phase.tokens for phase in self.phases), strict=True):
            end = max(end, planned_end)
            if phase.until is not None and left:
                end = min(max(begin, left.pop(0)), total)
                phase = replace(phase, until=None, round_down=False)
            phases.append(replace(phase, tokens=end - begin))
            begin = end
        return replace(self, phases=tuple(phases))

    def in_steps(self, batch_tokens: int, context: int) -> "Schedule":
        """The schedule in a form that can be trained: batch and context filled in, phases in whole steps.

        Args:
            batch_tokens: tokens of a step, where a phase has no own.
            context: tokens of the longest sequence, and of the sequences of a phase that has no own.

        Raises:
            InvalidValueError: see `round_phases`.
        """
        return replace(self, phases=round_phases(self.phases, batch_tokens, context))


@lru_cache(maxsize=1024)  # the search for a mark resolves the same phases repeatedly
def _resolve(train: Trainable, blocks: int, new_blocks: tuple[int, ...], layers: tuple[int, ...]) -> TrainedParts:
    """What is trained of a number of stored blocks, executed as `layers`."""
    return train.resolve(blocks, new_blocks, layers)
