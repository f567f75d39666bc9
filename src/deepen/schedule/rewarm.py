"""Re-warm: after growth, the learning rate rises again, of the new blocks alone or of everything.

The rise is a factor on the schedule's rate, from the growth until `rewarm_tokens` later. With steps of 10 tokens,
growth at 100 and `rewarm_tokens=40`:

    step that begins at     100   110   120   130   140
    factor                  1/5   2/5   3/5   4/5     1

It has an absolute start and end, so that a run can be cut anywhere within it.
"""

from dataclasses import dataclass

from deepen.growth.spec import Growth, GrowthStep
from deepen.schedule.grid import StepGrid
from deepen.schedule.schedule import Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewarm:
    """A linear rise of the learning rate after growth.

    Attributes:
        start: one step before the growth, in tokens of the run, so that the first step has a rate above 0.
        end: where the rate is whole again.
        blocks: indices of the stored blocks whose rate rises; empty for the rate of all parameters.
    """

    start: int
    end: int
    blocks: tuple[int, ...] = ()

    def at(self, tokens: int) -> float:
        """The factor on the rate of the step that begins after `tokens` tokens of the run."""
        return (tokens - self.start) / (self.end - self.start)


def find_rewarms(schedule: Schedule) -> tuple[Rewarm | None, ...]:
    """For each phase of a schedule in whole steps, the re-warm after the last growth up to its beginning.

    A growth ends the re-warm of the growth before it.
    """
    rewarms: list[Rewarm | None] = []
    rewarm: Rewarm | None = None
    grid, begin = schedule.grid, 0
    for place, (phase, step) in enumerate(zip(schedule.phases, schedule.growth_steps, strict=True)):
        if step is not None:
            rewarm = _plan_rewarm(schedule.growth_at(place), step, grid, begin, phase.batch_tokens)
        rewarms.append(rewarm)
        begin += phase.tokens
    return tuple(rewarms)


def _plan_rewarm(growth: Growth, step: GrowthStep, grid: StepGrid, begin: int, batch_tokens: int) -> Rewarm | None:
    """The re-warm after a growth at `begin`; None if it is shorter than half a step."""
    end = grid.nearest(begin + growth.rewarm_tokens)
    if end <= begin:
        return None
    blocks = step.new_blocks if growth.rewarm == "new-blocks" else ()
    return Rewarm(start=begin - batch_tokens, end=end, blocks=blocks)
