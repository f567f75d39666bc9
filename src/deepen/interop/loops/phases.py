"""The phases of a schedule in the form that a training loop needs."""

from dataclasses import dataclass, field

from deepen.compute.ledger import Ledger
from deepen.compute.marks import compute_position
from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.rewarm import Rewarm, find_rewarms
from deepen.schedule.schedule import Schedule
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
    _rewarm: Rewarm | None = field(default=None, repr=False)

    @property
    def sequences(self) -> int:
        """Sequences of a step."""
        return self.batch_tokens // self.context

    def lr(self, step: int, block: int | None = None) -> float:
        """The learning rate of a step of the phase; the first is step 0.

        Args:
            step: the step.
            block: index of the block whose parameters learn at this rate, which can rise after growth while that
                of the others does not; None for the parameters outside the blocks.
        """
        tokens = self.start + step * self.batch_tokens
        piece = next(piece for piece in reversed(self._rates) if piece.start <= tokens)
        rewarm = self._rewarm
        if rewarm is None or tokens >= rewarm.end or (rewarm.blocks and block not in rewarm.blocks):
            return piece.at(tokens)
        return piece.at(tokens) * rewarm.at(tokens)


def plan_phases(
    schedule: Schedule, *, batch_tokens: int, context: int, ledger: Ledger | None = None
) -> tuple[LoopPhase, ...]:
    """The phases of a schedule in whole optimizer steps.

    Args:
        schedule: what a recipe returned.
        batch_tokens: tokens of a step, over all processes and micro-batches.
        context: tokens of a sequence.
        ledger: prices a decay that is counted in compute; not needed for others.

    Raises:
        InvalidValueError: see `Schedule.in_steps`; or the rate needs a ledger; or layers share blocks, which
            only deepen's own networks do.
    """
    for phase in schedule.phases:
        if phase.layers:
            raise InvalidValueError(
                f"of phase {phase.label!r} share blocks, which only deepen's own networks do",
                field="layers",
                value=phase.layers,
                remedy="train it with deepen.run, or leave `layers` out",
            )
    schedule = schedule.in_steps(batch_tokens, context)
    rate = schedule.rate
    if ledger is not None:
        rate = rate.in_tokens(schedule.tokens, lambda share: compute_position(ledger, schedule, share))
    rates, rewarms = rate.pieces(schedule.grid), find_rewarms(schedule)
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
                _rewarm=rewarms[index],
            )
        )
        start += phase.tokens
    return tuple(phases)
