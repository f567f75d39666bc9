"""Phases in whole steps, a form that can be trained.

Phase *boundaries* are rounded, not lengths, so that the total does not drift. A phase with `round_down` has as
many whole steps as fit into its tokens; the rest goes to the next phase that is rounded to the nearest. Phases of
0 tokens are dropped, such as a continual phase for which the budget leaves nothing; the next phase takes over
their growth.

A phase also ends where a sequence of every later phase can begin. If sequences of 8 tokens are followed by longer
ones of 32, a phase with steps of 24 tokens has a multiple of 4 steps, 96 tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from math import lcm

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.schedule.grid import round_down_to_steps, round_to_steps
from deepen.schedule.phase import Phase


def round_phases(phases: Sequence[Phase], batch_tokens: int, context: int) -> tuple[Phase, ...]:
    """Phases in whole steps, with batch and context filled in.

    Args:
        phases: the phases, in tokens.
        batch_tokens: tokens of a step, where a phase has no own.
        context: tokens of the longest sequence, from which shorter ones are cut (see `deepen.data.batches`), and
            of the sequences of a phase that has no own.

    Raises:
        InvalidValueError: a phase has fewer tokens than one step, or its steps are not whole sequences, or these
            cannot be cut from the longest.
    """
    rounded: list[Phase] = []
    growth: Growth | None = None  # of a phase that was dropped
    planned, placed = 0, 0  # tokens so far: as requested, and in whole steps
    for phase, length, sequence in _with_sequences(phases, context):
        planned += phase.tokens
        growth = growth if phase.growth is None else phase.growth
        if phase.tokens == 0:
            continue
        batch = batch_tokens if phase.batch_tokens == 0 else phase.batch_tokens
        _check_sequences(phase, batch, length, context)
        unit = lcm(batch, sequence)
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
        rounded.append(replace(phase, tokens=tokens, batch_tokens=batch, context=length, growth=growth))
        growth = None
    if not rounded:
        raise InvalidValueError(
            "no phase has any tokens", value=0, remedy=f"use at least one step of {batch_tokens:,} tokens"
        )
    return tuple(rounded)


def _check_sequences(phase: Phase, batch: int, length: int, longest: int) -> None:
    """Check that steps of `batch` tokens are whole sequences of `length`, which can be cut from the longest."""
    if longest % length:
        raise InvalidValueError(
            f"of phase {phase.label!r} is {length}: it must divide {longest}, the longest",
            field="context",
            value=length,
        )
    if batch % length:
        raise InvalidValueError(
            f"phase {phase.label!r} has steps of {batch:,} tokens, not whole sequences of {length:,}",
            value=batch,
            remedy=f"use a multiple of {length:,}",
        )


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
