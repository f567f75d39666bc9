"""The phases of a schedule in the form that a training loop needs."""

from dataclasses import dataclass, field

from deepen.growth.spec import Growth
from deepen.schedule.phase import Schedule
from deepen.schedule.rate import RatePiece
from deepen.schedule.trainable import TrainedParts


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopPhase:
    """A phase of a schedule, with all that a loop needs to train it.

    Attributes:
        label: the phase's label.
        depth: blocks of the model.
        growth: how the model grows to `depth` when the phase begins; None if it has that depth already.
        trained: the parts that receive updates.
        reset_moments: whether the phase begins with an empty optimizer state.
        start: tokens of the run before the phase, and so the position in the data.
        steps: optimizer steps of the phase.
        batch_tokens: tokens of a step.
        context: tokens of a sequence.
    """

    label: str
    depth: int
    growth: Growth | None
    trained: TrainedParts
    reset_moments: bool
    start: int
    steps: int
    batch_tokens: int
    context: int
    _rates: tuple[RatePiece, ...] = field(repr=False)

    @property
    def sequences(self) -> int:
        """Sequences of a step."""
        return self.batch_tokens // self.context

    def lr(self, step: int) -> float:
        """The learning rate of a step of the phase; the first is step 0."""
        tokens = self.start + step * self.batch_tokens
        piece = next(piece for piece in reversed(self._rates) if piece.start <= tokens)
        return piece.at(tokens)


def plan_phases(schedule: Schedule, *, batch_tokens: int, context: int) -> tuple[LoopPhase, ...]:
    """The phases of a schedule in whole optimizer steps.

    Args:
        schedule: what a recipe returned.
        batch_tokens: tokens of a step, over all processes and micro-batches.
        context: tokens of a sequence.

    Raises:
        InvalidValueError: see `Schedule.in_steps`.
    """
    schedule = schedule.in_steps(batch_tokens, context)
    rates = schedule.rate.pieces(schedule.grid)
    phases: list[LoopPhase] = []
    start = 0
    for index, (phase, trained) in enumerate(zip(schedule.phases, schedule.trained_parts, strict=True)):
        phases.append(
            LoopPhase(
                label=phase.label,
                depth=phase.depth,
                growth=schedule.growth_at(index) if schedule.growth_steps[index] else None,
                trained=trained,
                reset_moments=phase.reset_moments,
                start=start,
                steps=phase.tokens // phase.batch_tokens,
                batch_tokens=phase.batch_tokens,
                context=phase.context,
                _rates=rates,
            )
        )
        start += phase.tokens
    return tuple(phases)
