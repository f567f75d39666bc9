"""Marks: the points of a run where its compute equals a given budget."""

from collections.abc import Callable

from deepen.compute.ledger import Ledger, phase_flops
from deepen.schedule.phase import Schedule

_MOST_STEPS = 1 << 40


def schedule_at_budget(
    make: Callable[[int], Schedule], ledger: Ledger, budget_flops: int, batch_tokens: int, context: int
) -> Schedule:
    """The schedule whose compute comes nearest to the budget, in whole steps.

    Args:
        make: total tokens → schedule; raises ValueError for a total that ends inside a staged part, and
            costs more FLOPs the more tokens it gets.
        ledger: the price.
        budget_flops: FLOPs to spend.
        batch_tokens, context: the run's own, in tokens.

    Raises:
        ValueError: the schedule is impossible at any length, or its shortest form is dearer than the budget.
    """

    def at(steps: int) -> Schedule:
        return make(steps * batch_tokens).in_steps(batch_tokens, context)

    def cost(steps: int) -> int | None:
        """FLOPs of so many steps, or None where they are too few for the schedule."""
        try:
            return sum(phase_flops(ledger, at(steps)))
        except ValueError:
            return None

    within, beyond = 0, 1  # `within` steps are too few or affordable, `beyond` are too dear
    while (flops := cost(beyond)) is None or flops <= budget_flops:
        if beyond > _MOST_STEPS:
            return at(beyond)  # no number of steps is right: this says why
        within, beyond = beyond, 2 * beyond
    while beyond - within > 1:
        middle = (within + beyond) // 2
        flops = cost(middle)
        if flops is None or flops <= budget_flops:
            within = middle
        else:
            beyond = middle
    below, above = cost(within) if within else None, cost(beyond)
    assert above is not None
    if below is not None and budget_flops - below <= above - budget_flops:
        return at(within)
    if below is None and above > budget_flops * 1.01:
        raise ValueError(
            f"a budget of {budget_flops:.4g} FLOPs is spent before the staged part ends: "
            f"the shortest run, {beyond:,} steps, costs {above:.4g} FLOPs"
        )
    return at(beyond)
