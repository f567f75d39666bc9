"""A schedule as explicit pieces: stretches of training in which neither the phase nor the rate's piece changes."""

from dataclasses import replace

from deepen.compute.ledger import Ledger
from deepen.schedule.phase import Schedule
from deepen.train.segment import Segment


def split_schedule(schedule: Schedule, ledger: Ledger) -> list[Segment]:
    """The pieces of a schedule in whole steps, in order: as few as can be, each as long as can be.

    Args:
        schedule: a schedule in whole steps.
        ledger: prices a token of each piece.
    """
    result: list[Segment] = []
    total = schedule.tokens
    rates = schedule.rate.pieces(schedule.grid)
    rate_starts = [max(0, rate.start) for rate in rates] + [total]
    begin, depth = 0, schedule.phases[0].depth
    for phase, trained in zip(schedule.phases, schedule.trained_parts, strict=True):
        end = begin + phase.tokens
        for rate, rate_start, rate_end in zip(rates, rate_starts, rate_starts[1:], strict=False):
            start, stop = max(begin, rate_start), min(end, rate_end)
            if start >= stop:
                continue
            piece = Segment(
                depth=phase.depth,
                trains=trained,
                start=start,
                end=stop,
                batch_tokens=phase.batch_tokens,
                context=phase.context,
                rate=rate,
                growth=schedule.growth if start == begin and phase.depth > depth else None,
                reset_moments=phase.reset_moments and start == begin,
                flops_per_token=ledger.flops_per_token(trained, phase.context),
                label=phase.label,
            )
            if result and _continues(piece, result[-1]):
                result[-1] = replace(result[-1], end=stop)
            else:
                result.append(piece)
        begin, depth = end, phase.depth
    return result


def _continues(piece: Segment, before: Segment) -> bool:
    """Whether a piece does nothing but continue the one before it."""
    if piece.growth is not None or piece.reset_moments:
        return False
    same = {"start": 0, "end": 0, "label": "", "growth": None, "reset_moments": False}
    return replace(before, **same) == replace(piece, **same)  # type: ignore[arg-type]
