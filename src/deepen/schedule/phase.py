"""Phases and schedules: what is trained, for how many tokens, and how the model grows in between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from math import lcm
from operator import index

from deepen.errors import InvalidValueError, is_line
from deepen.growth.spec import Growth, GrowthStep
from deepen.schedule.grid import StepGrid, round_down_to_steps, round_to_steps
from deepen.schedule.layers import check_layers
from deepen.schedule.plateau import Plateau, Trigger
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.trainable import Trainable, TrainedParts


class Part(StrEnum):
    """What a phase is for."""

    MAIN = "main"
    STAGED = "staged"
    CONTINUAL = "continual"


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A stretch of training with one depth, one trainable set and one token budget.

    Attributes:
        depth: layers that the model executes; each has a block of its own unless `layers` is given.
        tokens: training tokens.
        label: shown to people; nothing depends on it.
        train: the parameters that receive updates.
        part: what the phase is for; `STAGED` and `CONTINUAL` phases belong to recipes that train in stages first.
        batch_tokens, context: tokens of a step and of a sequence; 0 means the run's own.
        growth: how the model grows where the phase begins; None means the schedule's `growth`.
        reset_moments: empty the optimizer's moments when the phase begins, as rebuilding the optimizer does.
        round_down: round the length of the phase down to whole steps; otherwise its end is rounded to the nearest.
        until: ends the phase early where its loss reaches a plateau; then `tokens` is its latest length, and what
            it does not use goes to the phase after it.
        layers: the stored block of each executed layer, bottom to top, where layers share blocks: three blocks are
            executed twice by (0, 1, 2, 0, 1, 2). Empty if each block is executed once.
    """

    depth: int
    tokens: int
    label: str
    train: Trainable = Trainable.ALL
    part: Part = Part.MAIN
    batch_tokens: int = 0
    context: int = 0
    growth: Growth | None = None
    reset_moments: bool = False
    round_down: bool = False
    until: Plateau | None = None
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("depth", "batch_tokens", "context"):
            self._check_whole(name)
        for name, is_right, use in (
            ("train", isinstance(self.train, Trainable), "Trainable.ALL, Trainable.NEW_BLOCKS or another"),
            ("part", isinstance(self.part, Part), "Part.MAIN, Part.STAGED or Part.CONTINUAL"),
            ("label", is_line(self.label), "text in one line"),
            ("until", self.until is None or isinstance(self.until, Plateau), "Plateau(...)"),
            ("growth", self.growth is None or isinstance(self.growth, Growth), "Growth(...)"),
        ):
            value = getattr(self, name)
            if not is_right:
                raise InvalidValueError(
                    f"of phase {self.label!r} is {value!r}: use {use}", field=name, value=value
                )
        if self.tokens < 0:
            raise InvalidValueError(
                f"of phase {self.label!r} is {self.tokens}: it must be 0 or more",
                field="tokens",
                value=self.tokens,
            )
        object.__setattr__(self, "layers", check_layers(self.layers, self.depth, self.label))
        if self.train.lowest_depth > self.blocks:
            raise InvalidValueError(
                f"of phase {self.label!r} is {self.train}, but the phase has {self.blocks} blocks",
                field="train",
                value=self.train,
            )

    @property
    def steps(self) -> int:
        """Optimizer steps of a phase in whole steps."""
        return self.tokens // self.batch_tokens

    @property
    def blocks(self) -> int:
        """Stored blocks; fewer than `depth` where layers share blocks."""
        return max(self.layers) + 1 if self.layers else self.depth

    def _check_whole(self, name: str) -> None:
        """Refuse a number such as 12 / 2, which is 6.0 in Python."""
        value = getattr(self, name)
        try:
            object.__setattr__(self, name, index(value))
        except TypeError:
            raise InvalidValueError(
                f"of phase {self.label!r} is {value!r}: it must be a whole number", field=name, value=value
            ) from None
        if value < 0:
            raise InvalidValueError(
                f"of phase {self.label!r} is {value}: it must be 0 or more", field=name, value=value
            )


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
        if not self.phases:
            raise InvalidValueError("is empty: a schedule needs at least one phase", field="phases", value=())
        for phase in self.phases:
            if not isinstance(phase, Phase):
                raise InvalidValueError(f"has {phase!r}, which is not a Phase", field="phases", value=phase)
        if not isinstance(self.growth, Growth):
            raise InvalidValueError(f"is {self.growth!r}: use Growth(...)", field="growth", value=self.growth)
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
            context: tokens of the longest sequence, from which shorter ones are cut (see `deepen.data.batches`),
                and of the sequences of a phase that has no own.

        Phase *boundaries* are rounded, not lengths, so that the total does not drift. A phase with `round_down`
        has as many whole steps as fit into its tokens; the rest goes to the next phase that is rounded to the
        nearest. Phases of 0 tokens are dropped, such as a continual phase for which the budget leaves nothing;
        the next phase takes over their growth.

        A phase also ends where a sequence of every later phase can begin. If sequences of 8 tokens are followed by
        longer ones of 32, a phase with steps of 24 tokens has a multiple of 4 steps, 96 tokens.

        Raises:
            InvalidValueError: a phase has fewer tokens than one step, or its steps are not whole sequences, or
                these cannot be cut from the longest.
        """
        phases = []
        growth: Growth | None = None  # of a phase that was dropped
        planned, placed = 0, 0  # tokens so far: as requested, and in whole steps
        for phase, length, sequence in _with_sequences(self.phases, context):
            planned += phase.tokens
            growth = growth if phase.growth is None else phase.growth
            if phase.tokens == 0:
                continue
            batch = batch_tokens if phase.batch_tokens == 0 else phase.batch_tokens
            unit = lcm(batch, sequence)
            if context % length:
                raise InvalidValueError(
                    f"of phase {phase.label!r} is {length}: it must divide {context}, the longest",
                    field="context",
                    value=length,
                )
            if batch % length:
                raise InvalidValueError(
                    f"phase {phase.label!r} has steps of {batch:,} tokens, not whole sequences of {length:,}",
                    value=batch,
                    remedy=f"use a multiple of {length:,}",
                )
            if phase.round_down:
                tokens = round_down_to_steps(phase.tokens, unit) * unit
            else:
                tokens = round_to_steps(planned - placed, unit) * unit
            if tokens < unit:
                minimum = f"one step of {batch:,}"
                if unit > batch:
                    minimum = f"{unit // batch} steps of {batch:,}, a whole sequence of {sequence:,}"
                raise InvalidValueError(
                    f"phase {phase.label!r} has {phase.tokens:,} tokens, less than {minimum}",
                    value=phase.tokens,
                    remedy="use more tokens, fewer stages or a smaller batch",
                )
            placed += tokens
            whole = replace(phase, tokens=tokens, batch_tokens=batch, context=length, growth=growth)
            phases.append(whole)
            growth = None
        if not phases:
            raise InvalidValueError(
                "no phase has any tokens", value=0, remedy=f"use at least one step of {batch_tokens:,} tokens"
            )
        return replace(self, phases=tuple(phases))


def _with_sequences(phases: Sequence[Phase], context: int) -> Iterator[tuple[Phase, int, int]]:
    """Each phase with the tokens of its sequences, and those that are whole sequences of every later phase.

    Args:
        phases: the phases; those of 0 tokens do not count as later ones.
        context: tokens of the sequences of a phase that has no own.
    """
    own = [context if phase.context == 0 else phase.context for phase in phases]
    counted = [length if phase.tokens else 1 for phase, length in zip(phases, own, strict=True)]
    later = [*accumulate(reversed(counted), lcm, initial=1)]
    return zip(phases, own, reversed(later[:-1]), strict=True)


@lru_cache(maxsize=1024)  # the search for a mark resolves the same phases repeatedly
def _resolve(train: Trainable, blocks: int, new_blocks: tuple[int, ...], layers: tuple[int, ...]) -> TrainedParts:
    """What is trained of a number of stored blocks, executed as `layers`."""
    return train.resolve(blocks, new_blocks, layers)
