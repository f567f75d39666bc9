"""Marks: the points of a run where its price equals a given budget."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache

from deepen.compute.ledger import Ledger, phase_flops
from deepen.schedule.grid import round_to_steps, round_up_to_steps
from deepen.schedule.phase import Schedule

Make = Callable[[int], Schedule]
"""Total tokens → schedule."""

Price = Callable[[Schedule], float]
"""A schedule in whole steps → what it costs, in FLOPs or seconds."""

MAX_STEPS = 1 << 40
"""More steps than anybody trains; beyond them a budget is a slip of the pen."""

_NEIGHBOURS = 4
"""Steps to either side in which the rounding of ramps can hide a better fit."""


def flops_price(ledger: Ledger) -> Price:
    """The exact price, in FLOPs."""
    return lambda schedule: sum(phase_flops(ledger, schedule))


def schedule_at_budget(
    make: Make, price: Price, budget: float, batch_tokens: int, context: int, unit: str = "FLOPs"
) -> Schedule:
    """The schedule whose price comes nearest to the budget, in whole steps.

    Args:
        make: raises ValueError for a total that ends inside a staged part; its schedules are dearer the more
            tokens they get, but for the rounding of phases and ramps.
        price: what a schedule costs.
        budget: what may be spent, in `unit`.
        batch_tokens, context: the run's own, in tokens.
        unit: of price and budget, for the error.

    Raises:
        ValueError: the schedule is impossible at any length, or its shortest form is dearer than the budget:
            by more than a hundredth, because the shortest form may just as well be the nearest to the budget.
    """

    def at(steps: int) -> Schedule:
        return make(steps * batch_tokens).in_steps(batch_tokens, context)

    @cache
    def cost(steps: int) -> float | None:
        """The price of so many steps, or None where they are too few for the schedule."""
        try:
            return price(at(steps))
        except ValueError:
            return None

    within, beyond = 0, 1  # `within` steps are too few or affordable, `beyond` are too dear
    while (found := cost(beyond)) is None or found <= budget:
        if beyond > MAX_STEPS:
            at(beyond)  # where no number of steps is right, this says why
            raise ValueError(f"a budget of {budget:.4g} {unit} is more than {MAX_STEPS:,} steps: give less")
        within, beyond = beyond, 4 * beyond
    halve = False  # in turn with interpolation, which alone could creep
    while beyond - within > 1:
        middle = (within + beyond) // 2
        low, high = cost(within) if within else None, cost(beyond)
        if not halve and low is not None and high is not None:
            share = (budget - low) / (high - low)
            middle = min(max(within + 1, within + int(share * (beyond - within))), beyond - 1)
        halve = not halve
        found = cost(middle)
        if found is None or found <= budget:
            within = middle
        else:
            beyond = middle
    around = range(max(1, within - _NEIGHBOURS), beyond + _NEIGHBOURS + 1)
    near = {steps: found for steps in around if (found := cost(steps)) is not None}
    nearest = min(near, key=lambda steps: (abs(near[steps] - budget), steps))
    above = near[beyond]
    if min(near) == beyond and above > budget * 1.01:
        if beyond == 1:
            raise ValueError(
                f"a budget of {budget:.4g} {unit} is less than one step, which costs {above:.4g}: give more"
            )
        raise ValueError(
            f"a budget of {budget:.4g} {unit} is spent before every phase has had its tokens: "
            f"the shortest run, {beyond:,} steps, costs {above:.4g} {unit}, {above / budget:.2f} times as much"
        )
    return at(nearest)


def schedule_at_papers_mark(
    make: Make, baseline_tokens: int, continual_share: Fraction, batch_tokens: int, context: int
) -> Schedule:
    """The schedule that ends where a recipe's closed form says that compute is equal.

    Args:
        baseline_tokens: T, in tokens; the staged part lasts as long.
        continual_share: tokens of the continual phase ÷ T (see `Recipe.continual_share`).
    """
    total = baseline_tokens + float(continual_share * baseline_tokens)
    steps = max(round_to_steps(total, batch_tokens), round_up_to_steps(baseline_tokens, batch_tokens))
    return make(steps * batch_tokens).in_steps(batch_tokens, context)
