"""Marks of runs in which training decides where phases end: see `deepen.schedule.plateau`.

What such a run costs depends on its decisions, so its mark is solved again with each. For one-shot growth from 6
to 12 blocks, against 64 steps of full training, with growth after half of the run at the latest:

    open                40 of 80 steps at depth 6, the latest end
    ends at 34 steps    34 of 78 steps at depth 6, which costs as much
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from deepen.compute.marks import RecipeRun
from deepen.errors import InvalidValueError
from deepen.schedule.phase import Phase
from deepen.schedule.plateau import Trigger
from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.schedule import Schedule

Choose = Callable[[Schedule, Trigger], int]
"""The position in tokens at which the phase of a trigger ends, which a schedule has."""


def decide_schedule(run: RecipeRun, solve: Callable[[RecipeRun], Schedule], choose: Choose) -> Schedule:
    """The schedule of a run to a mark, after all phases that a plateau may end were decided, one after another.

    A decision changes what the run costs, so the mark is solved again after each.

    Args:
        run: the run.
        solve: finds its schedule to the mark.
        choose: decides.
    """
    schedule = solve(run)
    while (trigger := schedule.trigger) is not None:
        run = replace(run, decisions=(*run.decisions, choose(schedule, trigger)))
        schedule = solve(run)
    return schedule


def end_early(schedule: Schedule, trigger: Trigger) -> int:
    """End a phase at its first opportunity: the lower bound of a plan."""
    return trigger.earliest


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyEnd:
    """A phase that a plateau may end: where it ends at the earliest and at the latest, in tokens of the run."""

    label: str
    earliest: int
    latest: int


def early_ends(schedule: Schedule, earliest: Schedule) -> tuple[EarlyEnd, ...]:
    """The phases of a schedule that a plateau may end.

    Args:
        schedule: with open decisions.
        earliest: the schedule to the same mark in which they end at their first opportunity.
    """
    found: list[EarlyEnd] = []
    while (trigger := schedule.trigger) is not None:
        nth = next(nth for nth, phase in enumerate(schedule.phases) if phase.until is not None)
        end = sum(phase.tokens for phase in earliest.phases[: nth + 1])
        found.append(EarlyEnd(label=trigger.label, earliest=end, latest=trigger.latest))
        schedule = schedule.decided([trigger.latest])
    return tuple(found)


def check_triggers(run: RecipeRun, schedule: Schedule) -> None:
    """Check that training up to the latest end of a phase does not depend on where the phase ends.

    Otherwise there would be no run whose losses could decide. So a run twice as long must begin in the same way.

    Args:
        run: the run.
        schedule: its schedule to a mark, with open decisions.

    Raises:
        InvalidValueError: it depends on it, or a plateau can never end its phase early.
    """
    latest: list[int] = []
    while (trigger := schedule.trigger) is not None:
        latest.append(trigger.latest)
        schedule, label = schedule.decided(latest[-1:]), trigger.label
    if not latest:
        return
    steps = 2 * schedule.tokens // run.batch_tokens
    longer = replace(run, decisions=tuple(latest)).schedule(steps)
    if _training_before(latest[-1], schedule) != _training_before(latest[-1], longer):
        raise InvalidValueError(
            f"phase {label!r} may end on a plateau up to {latest[-1]:,} tokens, but the training up to there "
            "depends on the length of the run, which is open until then",
            remedy="use a rate that is constant up to there (WSD decays later, a cosine never is), or let the "
            "phase end earlier at the latest",
        )


def _training_before(tokens: int, schedule: Schedule) -> tuple[list[Phase], list[RatePiece]]:
    """How a run is trained up to a position: its phases, and the pieces of its rate."""
    phases, begin = [], 0
    for phase in schedule.phases:
        if begin < tokens:
            phases.append(replace(phase, tokens=min(phase.tokens, tokens - begin), until=None, round_down=False))
        begin += phase.tokens
    return phases, [piece for piece in schedule.rate.pieces(schedule.grid) if piece.start < tokens]
