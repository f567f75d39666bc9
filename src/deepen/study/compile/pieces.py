"""Splitting a schedule into pieces, within which neither the phase nor the rate's piece changes.

For example, depth 1 for 40 tokens and depth 2 for 60, at a rate that warms up until 20 and decays from 80:

    phases    0 ─────── depth 1 ─────── 40 ────────── depth 2 ────────── 100
    rate      0 ─ warm-up ─ 20 ────── constant ────── 80 ──── decay ──── 100
    pieces    [0, 20)   [20, 40)   [40, 80), which starts with growth   [80, 100)

The rise of the rate after growth (`deepen.schedule.rewarm`) ends a piece too. Phases that differ only in their
label form one piece. So `two-phase` with one stage has the same pieces as full training, and shares its segments.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from deepen.compute.ledger import Ledger
from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.rewarm import Rewarm, find_rewarms
from deepen.schedule.schedule import Schedule
from deepen.train.segment import Segment


def split_schedule(schedule: Schedule, ledger: Ledger) -> list[Segment]:
    """Split a schedule into the longest possible pieces, in order.

    Args:
        schedule: a schedule in whole steps.
        ledger: computes the FLOPs per step of each piece.
    """
    pieces: list[Segment] = []
    for piece in _stretches(schedule, ledger):
        if pieces and _continues(piece, pieces[-1]):
            pieces[-1] = replace(pieces[-1], end=piece.end)
        else:
            pieces.append(piece)
    return pieces


def _stretches(schedule: Schedule, ledger: Ledger) -> Iterator[Segment]:
    """Each part of a phase within one piece of the rate, in which the rate rises after growth or does not."""
    rates = list(_rate_stretches(schedule))
    begin, context = 0, schedule.phases[0].context
    parts, growths, rewarms = schedule.trained_parts, schedule.growth_steps, find_rewarms(schedule)
    for phase, trained, growth, rewarm in zip(schedule.phases, parts, growths, rewarms, strict=True):
        end = begin + phase.tokens
        for rate, rate_start, rate_end in rates:
            start, stop = max(begin, rate_start), min(end, rate_end)
            if start < stop:
                is_first = start == begin
                piece = Segment(
                    depth=phase.blocks,
                    trains=trained,
                    start=start,
                    end=stop,
                    batch_tokens=phase.batch_tokens,
                    context=phase.context,
                    rate=rate,
                    growth=growth if is_first else None,
                    reset_moments=is_first and phase.reset_moments,
                    flops_per_step=ledger.flops_per_step(trained, phase.batch_tokens, phase.context),
                    label=phase.label,
                    changes_context=is_first and phase.context != context,
                )
                yield from _split_at_end(piece, rewarm)
        begin, context = end, phase.context


def _split_at_end(piece: Segment, rewarm: Rewarm | None) -> Iterator[Segment]:
    """The part of a piece up to the end of a re-warm, and the part after it."""
    if rewarm is None or rewarm.end <= piece.start:
        yield piece
        return
    yield replace(piece, end=min(piece.end, rewarm.end), rewarm=rewarm)
    if rewarm.end < piece.end:
        yield replace(piece, start=rewarm.end, growth=None, reset_moments=False, changes_context=False)


def _rate_stretches(schedule: Schedule) -> Iterator[tuple[RatePiece, int, int]]:
    """Each piece of the rate with its start and end in tokens; a warm-up piece may start before token 0."""
    rates = schedule.rate.pieces(schedule.grid)
    bounds = [*(max(0, rate.start) for rate in rates), schedule.tokens]
    for rate, (start, end) in zip(rates, pairwise(bounds), strict=True):
        yield rate, start, end


def _continues(piece: Segment, before: Segment) -> bool:
    """Whether a piece only continues the one before it."""
    if piece.growth is not None or piece.reset_moments or piece.changes_context:
        return False
    if piece.batch_tokens != before.batch_tokens:
        return False
    continued = replace(before, start=piece.start, end=piece.end, label=piece.label)
    return replace(continued, growth=None, reset_moments=False, changes_context=False) == piece
