"""Marks: the points of a run where its compute equals a given budget."""

from collections.abc import Callable

from deepen.compute.ledger import Ledger, phase_flops
from deepen.schedule.phase import Schedule


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

    def cost(steps: int) -> int:
        return sum(phase_flops(ledger, at(steps)))

    too_few = 0
    enough = budget_flops // (3 * ledger.head_forward() * batch_tokens) + 2  # even without any block
    while True:  # a staged part may need more; what no number of steps mends is raised
        try:
            cost(enough)
            break
        except ValueError:
            if enough > 1 << 40:
                raise
            enough *= 2
    shortest: int | None = None
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        try:
            affordable = cost(middle) <= budget_flops
        except ValueError:
            affordable, shortest = True, None
        else:
            shortest = middle if affordable else shortest
        if affordable:
            too_few = middle
        else:
            enough = middle
    if shortest is not None and budget_flops - cost(shortest) <= cost(enough) - budget_flops:
        return at(shortest)
    if shortest is None and cost(enough) > budget_flops * 1.01:
        raise ValueError(
            f"a budget of {budget_flops:.4g} FLOPs is spent before the staged part ends: "
            f"the shortest run, {enough:,} steps, costs {cost(enough):.4g} FLOPs"
        )
    return at(enough)
