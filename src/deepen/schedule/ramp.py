"""Ramps of batch size and context over a run.

    ramp = Ramp(steps=((0.0, 256), (0.5, 1024)))  # 256 tokens for the first half of the run, then 1024
    apply_ramps(schedule, batch=ramp, batch_tokens=1024)

Phases are split where a ramp changes its value.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import lcm

from deepen.errors import InvalidValueError, is_whole
from deepen.schedule.phase import Phase
from deepen.schedule.schedule import Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Ramp:
    """A number of tokens, such as the batch size, that changes during a run.

    `steps` are pairs (share of the run's tokens at which the value begins, value in tokens); the first begins at
    0.
    """

    steps: tuple[tuple[float, int], ...]

    def __post_init__(self) -> None:
        is_list = isinstance(self.steps, Sequence) and all(
            isinstance(step, Sequence) and len(step) == 2 and isinstance(step[0], int | float)
            for step in self.steps
        )
        if not is_list:
            raise InvalidValueError(
                f"is {self.steps!r}: it must be pairs of a share and a number of tokens, as in "
                "((0.0, 256), (0.5, 1024))",
                field="steps",
                value=self.steps,
            )
        object.__setattr__(self, "steps", tuple((share, value) for share, value in self.steps))
        shares = [share for share, _ in self.steps]
        rising = all(before < after for before, after in pairwise(shares))  # False for NaN too
        if not shares or shares[0] != 0 or not rising or shares[-1] >= 1:
            raise InvalidValueError(
                "shares of a ramp must begin at 0, rise, and stay below 1, as in 0:256,0.5:1024"
            )
        if any(not is_whole(value) or value < 1 for _, value in self.steps):
            raise InvalidValueError("values of a ramp must be whole numbers of tokens, at least 1")

    def __str__(self) -> str:
        return ",".join(f"{_shortest(share)}:{value}" for share, value in self.steps)

    @property
    def largest(self) -> int:
        """The largest value."""
        return max(value for _, value in self.steps)

    def at(self, share: float) -> int:
        """The value at a share of the run's tokens."""
        return self.steps[bisect_right(self.steps, share, key=lambda step: step[0]) - 1][1]


def apply_ramps(
    schedule: Schedule, *, batch: Ramp | None = None, context: Ramp | None = None, batch_tokens: int
) -> Schedule:
    """Set the batch size and the context of a schedule by ramps, and split phases where a ramp changes.

    A change less than one optimizer step from the beginning or the end of a phase is moved there, so that every
    piece has at least one whole step. Where the context changes, "step" means as many as whole sequences of the
    largest context take.

    Args:
        schedule: a schedule in tokens.
        batch, context: the ramps; None keeps the schedule's own values.
        batch_tokens: tokens of a step if there is no batch ramp.

    Source: batch-size warm-up as in GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix B); sequence length
    as in Li et al. 2022 (arXiv 2108.06084).
    """
    if batch is None and context is None:
        return schedule
    total = schedule.tokens
    batches = [batch_tokens] if batch is None else [size for _, size in batch.steps]
    sequence = 1 if context is None else context.largest
    step = max(lcm(size, sequence) for size in batches)
    shares = sorted({share for ramp in (batch, context) if ramp for share, _ in ramp.steps})
    cuts = [round(share * total) for share in shares[1:]]
    phases: list[Phase] = []
    begin = 0
    for phase in schedule.phases:
        for nth, end in enumerate(_piece_ends(begin, begin + phase.tokens, cuts, step)):
            share = (begin + step - 0.5) / total  # a change within the first step applies to the whole piece
            size = phase.batch_tokens if batch is None else batch.at(share)
            length = phase.context if context is None else context.at(share)
            label = phase.label
            label += "" if batch is None else f" · batch {size:,}"
            label += "" if context is None else f" · context {length:,}"
            piece = replace(
                phase,
                tokens=end - begin,
                batch_tokens=size,
                context=length,
                reset_moments=phase.reset_moments and nth == 0,
                label=label,
            )
            phases.append(piece)
            begin = end
    return replace(schedule, phases=tuple(phases))


def _piece_ends(begin: int, end: int, cuts: Sequence[int], step: int) -> list[int]:
    """Where the pieces of a phase end: at the cuts that leave every piece at least one step."""
    ends: list[int] = []
    for cut in cuts[bisect_left(cuts, begin + step) : bisect_right(cuts, end - step)]:
        if not ends or cut >= ends[-1] + step:
            ends.append(cut)
    return [*ends, end]


def _shortest(share: float) -> str:
    """The shortest text that is read as the same number."""
    short = f"{share:g}"
    return short if float(short) == share else repr(share)
