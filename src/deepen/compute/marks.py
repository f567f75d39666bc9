"""Marks: how long a run must be for its compute to equal a budget.

The runs of a recipe differ only in length (`RecipeRun`), and a longer run costs more. The mark is the number of
whole steps whose price comes nearest to the budget. It is found by search, because a schedule can depend on its
length in many ways: stages that last as long as the baseline, growth at a share of the run, ramps of the batch.

`two-phase` on `nano`, against 1,000 steps of full training; prices are shares of the budget:

    bracket   1, 4, 16, 64, 256 steps are too few for the staged part; 1,024 cost 0.595, 4,096 cost 3.667
    narrow    interpolation tries 1,429: 0.9996; halving 2,762: 2.333; interpolation 1,430: 1.0006
    compare   1,425 to 1,434, because a neighbour can fit better after phases are rounded to whole steps
    mark      1,429 steps

Plans and studies both find their marks here, through `compute.accounting`, so they agree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from deepen.compute.ledger import Ledger, phase_flops
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.schedule.grid import round_to_steps, round_up_to_steps
from deepen.schedule.phase import Part
from deepen.schedule.ramp import Ramp, apply_ramps
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.recipe import Recipe
from deepen.schedule.schedule import Schedule

Price = Callable[[Schedule], float]
"""What a schedule in whole steps costs."""

_Cost = Callable[[int], float | None]
"""The price of a number of steps; None if they are too few for the recipe."""

MAX_STEPS = 1 << 40
"""More steps than any run has; a budget above it is a mistake."""

_NEIGHBOURS = 4
"""Steps on either side of the search's result that are compared too. Phases and ramps are rounded to whole steps,
so a longer run can be cheaper."""

_TOLERANCE = 1.01
"""The shortest run of a recipe is accepted as the mark up to this multiple of the budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeRun:
    """A recipe on a model, with everything fixed except the length of the run.

    Attributes:
        recipe, options: the recipe, and its options by name.
        model: the model at its full depth.
        batch_tokens, context: tokens of a step and of a sequence, unless there is a ramp.
        baseline_tokens: tokens of the baseline, the length of a staged part; None means the run's own tokens.
        batch_ramp, context_ramp: batch and context during the run.
        rate: the learning rate during the run, which does not change its price.
        ledger: prices a decay that is counted in compute; None for the model's own ledger.
        decisions: where the first phases that a plateau may end have ended, in tokens of the run.
    """

    recipe: Recipe
    model: ModelConfig
    batch_tokens: int
    context: int
    options: Mapping[str, Any] = field(default_factory=dict)
    baseline_tokens: int | None = None
    batch_ramp: Ramp | None = None
    context_ramp: Ramp | None = None
    rate: Rate = field(default_factory=WSD)
    ledger: Ledger | None = None
    decisions: tuple[int, ...] = ()

    def schedule(self, steps: int) -> Schedule:
        """The schedule of a run of `steps` steps of `batch_tokens`, with every phase in whole steps.

        Raises:
            InvalidValueError: the recipe does not fit the model, or needs more steps.
        """
        tokens = steps * self.batch_tokens
        baseline_tokens = tokens if self.baseline_tokens is None else self.baseline_tokens
        schedule = self.recipe.schedule(self.model, tokens, baseline_tokens, self.options).decided(self.decisions)
        if schedule.has_trigger and (self.batch_ramp or self.context_ramp):
            raise InvalidValueError(
                "changes at shares of the run's tokens, and a phase that ends on a plateau leaves these open",
                field="batch_ramp" if self.batch_ramp else "context_ramp",
                remedy="let the phase end at a share of the tokens, or give its phases a batch and a context",
            )
        schedule = apply_ramps(
            schedule, batch=self.batch_ramp, context=self.context_ramp, batch_tokens=self.batch_tokens
        ).in_steps(self.batch_tokens, self.context)
        ledger = Ledger(model=self.model) if self.ledger is None else self.ledger
        _check_optimizer(ledger, schedule)
        rate = self.rate.in_tokens(baseline_tokens, lambda share: compute_position(ledger, schedule, share))
        return replace(schedule, rate=rate)

    def continued(self, tokens: int) -> Schedule:
        """The schedule of a run that trains `tokens` tokens after its staged part, in whole steps.

        Raises:
            InvalidValueError: as `schedule`.
        """
        assert self.recipe.has_staged_part and self.baseline_tokens is not None
        longer = self.schedule(round_up_to_steps(self.baseline_tokens + tokens, self.batch_tokens))
        staged_tokens = sum(phase.tokens for phase in longer.phases if phase.part is Part.STAGED)
        return self.schedule(round_to_steps(staged_tokens + tokens, self.batch_tokens))


def _check_optimizer(ledger: Ledger, schedule: Schedule) -> None:
    """Raise an InvalidValueError if an optimizer for the matrices of blocks has none to train in any phase."""
    if ledger.optimizer.block_matrices is None or any(trained.blocks for trained in schedule.trained_parts):
        return
    raise InvalidValueError(
        f"{ledger.optimizer.name} is for the matrices of blocks, and no phase trains any",
        field="optimizer",
        value=ledger.optimizer.name,
        remedy="use `optimizer` adamw, or train at least one block",
    )


def compute_position(ledger: Ledger, schedule: Schedule, share: float) -> float:
    """The tokens after which a share of a schedule's FLOPs is used; the schedule is in whole steps."""
    costs = phase_flops(ledger, schedule)
    left = share * sum(costs)
    begin = 0
    for phase, cost in zip(schedule.phases, costs, strict=True):
        if left <= cost:
            return begin + phase.tokens * left / cost
        left -= cost
        begin += phase.tokens
    return schedule.tokens


def compute_share(ledger: Ledger, schedule: Schedule, tokens: int) -> float:
    """The share of a schedule's FLOPs that is used after some tokens: the inverse of `compute_position`."""
    costs = phase_flops(ledger, schedule)
    used, left = 0.0, tokens
    for phase, cost in zip(schedule.phases, costs, strict=True):
        used += cost * min(left, phase.tokens) / phase.tokens
        left -= min(left, phase.tokens)
    return used / sum(costs)


def nearest_schedule(run: RecipeRun, price: Price, budget: float, unit: str) -> Schedule:
    """The schedule of a run, in whole steps, whose price comes nearest to the budget.

    Args:
        run: gives the schedule for any number of steps; apart from rounding, a longer one costs more.
        price: what a schedule costs, in `unit`.
        budget: what the run should cost, in `unit`.
        unit: used in errors.

    Raises:
        InvalidValueError: the recipe does not fit at any length, or its shortest run costs clearly more than the
            budget.
    """

    @cache
    def cost(steps: int) -> float | None:
        try:
            schedule = run.schedule(steps)
        except ValueError:
            return None
        return price(schedule)

    affordable, beyond = _bracket(run, cost, budget, unit)
    affordable, beyond = _narrow(cost, budget, affordable, beyond)
    around = range(max(1, affordable - _NEIGHBOURS), beyond + _NEIGHBOURS + 1)
    near = {steps: found for steps in around if (found := cost(steps)) is not None}
    if min(near) == beyond and near[beyond] > budget * _TOLERANCE:
        raise _over_budget(beyond, near[beyond], budget, unit)
    return run.schedule(min(near, key=lambda steps: (abs(near[steps] - budget), steps)))


def _bracket(run: RecipeRun, cost: _Cost, budget: float, unit: str) -> tuple[int, int]:
    """Two numbers of steps: one within the budget, or too few for the recipe, and one beyond the budget."""
    affordable, beyond = 0, 1
    while (found := cost(beyond)) is None or found <= budget:
        if beyond > MAX_STEPS:
            run.schedule(beyond)  # raises the reason if no length fits the recipe
            raise InvalidValueError(
                f"a budget of {budget:.4g} {unit} is more than {MAX_STEPS:,} steps: give less", value=budget
            )
        affordable, beyond = beyond, 4 * beyond
    return affordable, beyond


def _narrow(cost: _Cost, budget: float, affordable: int, beyond: int) -> tuple[int, int]:
    """Narrow the two to neighbours. Interpolation alternates with halving, because alone it can be very slow."""
    halve = False
    while beyond - affordable > 1:
        middle = (affordable + beyond) // 2
        low, high = cost(affordable) if affordable else None, cost(beyond)
        if not halve and low is not None and high is not None:
            share = (budget - low) / (high - low)
            middle = min(max(affordable + 1, affordable + int(share * (beyond - affordable))), beyond - 1)
        halve = not halve
        found = cost(middle)
        if found is None or found <= budget:
            affordable = middle
        else:
            beyond = middle
    return affordable, beyond


def _over_budget(shortest: int, price: float, budget: float, unit: str) -> InvalidValueError:
    """The error if even the shortest run costs more than the budget."""
    if shortest == 1:
        problem = f"a budget of {budget:.4g} {unit} is less than one step, which costs {price:.4g}: give more"
    else:
        problem = (
            f"a budget of {budget:.4g} {unit} is spent before every phase has had its tokens: the shortest run, "
            f"{shortest:,} steps, costs {price:.4g} {unit}, {price / budget:.2f} times as much"
        )
    return InvalidValueError(problem, value=budget)
