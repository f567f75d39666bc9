"""Phases: stretches of training with one depth, one trainable set and one token budget."""

from dataclasses import dataclass
from enum import StrEnum
from operator import index

from deepen.errors import InvalidValueError, is_line, is_number
from deepen.growth.spec import Growth
from deepen.schedule.layers import check_layers
from deepen.schedule.plateau import Plateau
from deepen.schedule.trainable import Trainable


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
        if not (is_number(self.tokens) and self.tokens >= 0):
            raise InvalidValueError(
                f"of phase {self.label!r} is {self.tokens!r}: it must be a number of 0 or more",
                field="tokens",
                value=self.tokens,
            )
        object.__setattr__(self, "layers", check_layers(self.layers, self.depth, self.label))
        if self.train.lowest_depth > self.blocks:
            raise InvalidValueError(
                f"of phase {self.label!r} is {self.train}, but the phase has {self.blocks} blocks",
                field="train",
                value=self.train,
                remedy=f"blocks are counted from 0, so the topmost is {self.blocks - 1}",
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
