"""Marks: how long a run has to be so that its compute equals a budget.

The runs of a recipe differ in their length only (`RecipeRun`), and a longer run costs more. The mark of an
accounting is the number of whole steps whose price comes nearest to the budget. FLOPs and seconds are found by
search, because a schedule may depend on its length in any way: stages that last as long as the baseline, growth
at a share of the run, ramps of the batch. The accounting of a paper computes the length by the paper's formula.

`two-phase` on `nano`, against 1,000 steps of full training; prices are shares of the budget:

    bracket   1, 4, 16, 64, 256 steps are fewer than the staged part has; 1,024 cost 0.595, 4,096 cost 3.667
    narrow    between them 1,429 by interpolation: 0.9996; 2,762 by halving: 2.333; 1,430 by interpolation: 1.0006
    compare   1,425 to 1,434, since rounding phases to whole steps may make a neighbour fit better
    mark      1,429 steps

Plans and studies find their marks here, from the same values, so they agree.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Any

from deepen.compute.clock import Clock
from deepen.compute.ledger import Ledger, phase_flops
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.schedule.grid import round_to_steps, round_up_to_steps
from deepen.schedule.phase import Part, Schedule
from deepen.schedule.ramp import Ramp, ramped
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.recipe import Recipe
from deepen.schedule.recipes import BASELINE

Price = Callable[[Schedule], float]
"""What a schedule in whole steps costs."""

MAX_STEPS = 1 << 40
"""More steps than any run has; a larger budget is a mistake."""

_NEIGHBOURS = 4
"""Steps to either side of the search's result that are compared too: because phases and ramps are rounded to whole
steps, a longer run can be cheaper."""

_TOLERANCE = 1.01
"""The shortest run that a recipe allows may cost this many times the budget and still be its mark."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeRun:
    """A recipe on a model, with everything decided but the length of the run.

    Attributes:
        recipe, options: the recipe, and its options by name.
        model: the model at its full depth.
        batch_tokens, context: tokens of a step and of a sequence, where no ramp says otherwise.
        baseline_tokens: tokens of the baseline, which a staged part lasts for; None means the run's own tokens.
        batch_ramp, context_ramp: batch and context along the run.
        rate: the learning rate along the run; it costs nothing.
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

    def schedule(self, steps: int) -> Schedule:
        """The schedule of a run of so many steps of `batch_tokens`, every phase in whole steps.

        Raises:
            InvalidValueError: the recipe does not fit the model, or so few steps.
        """
        tokens = steps * self.batch_tokens
        baseline_tokens = tokens if self.baseline_tokens is None else self.baseline_tokens
        schedule = self.recipe.schedule(self.model, tokens, baseline_tokens, self.options)
        schedule = ramped(
            replace(schedule, rate=self.rate),
            batch=self.batch_ramp,
            context=self.context_ramp,
            batch_tokens=self.batch_tokens,
        )
        return schedule.in_steps(self.batch_tokens, self.context)


class Accounting(ABC):
    """A way to price compute, by which the compute of two runs is made equal.

    Attributes:
        name: how the accounting is called in plans, studies and results.
        unit: what prices and budgets are counted in.
    """

    name: str
    unit: str

    def applies_to(self, run: RecipeRun, against: Recipe) -> bool:
        """Whether a run can be priced when it is compared with a recipe."""
        return True

    @abstractmethod
    def budget(self, baseline: Schedule) -> float:
        """The price of the baseline."""

    @abstractmethod
    def mark(self, run: RecipeRun, budget: float) -> Schedule:
        """The run whose price comes nearest to the budget.

        Raises:
            InvalidValueError: there is none; the message says why.
        """

    @abstractmethod
    def staged_share(self, run: RecipeRun, schedule: Schedule, baseline: Schedule) -> float:
        """The price of a schedule's staged part ÷ that of the baseline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PricedAccounting(Accounting):
    """An accounting that prices every schedule."""

    name: str
    unit: str
    price: Price

    def budget(self, baseline: Schedule) -> float:
        """The price of the baseline."""
        return self.price(baseline)

    def mark(self, run: RecipeRun, budget: float) -> Schedule:
        """The run whose price comes nearest to the budget, found by search."""
        return nearest_schedule(run, self.price, budget, self.unit)

    def staged_share(self, run: RecipeRun, schedule: Schedule, baseline: Schedule) -> float:
        """The price of the phases before the continual one ÷ that of the baseline."""
        staged = tuple(phase for phase in schedule.phases if phase.part is not Part.CONTINUAL)
        return self.price(replace(schedule, phases=staged)) / self.price(baseline)


def flops_accounting(ledger: Ledger) -> PricedAccounting:
    """Exact FLOPs."""
    return PricedAccounting(name="flops", unit="FLOPs", price=lambda schedule: sum(phase_flops(ledger, schedule)))


def seconds_accounting(clock: Clock) -> PricedAccounting:
    """Seconds by a clock."""

    def price(schedule: Schedule) -> float:
        return sum(map(clock, schedule.phases, schedule.trained_parts))

    return PricedAccounting(name="seconds", unit="seconds", price=price)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperAccounting(Accounting):
    """The formula of a recipe's paper, for its comparison with full training.

    A budget is counted in forward passes of the whole model per token. `ratio` is the price of a backward pass in
    forward passes.
    """

    name: str = "paper"
    unit: str = "forward passes"
    ratio: float = 1.0

    def applies_to(self, run: RecipeRun, against: Recipe) -> bool:
        """Whether the recipe's paper has a formula for this comparison."""
        return run.recipe.closed_form is not None and against is BASELINE

    def budget(self, baseline: Schedule) -> float:
        """Forward passes of full training: one a token, and `ratio` for its backward pass."""
        return float(self._passes_per_token * baseline.tokens)

    def mark(self, run: RecipeRun, budget: float) -> Schedule:
        """The run that ends where the formula says that the budget is spent."""
        assert run.recipe.closed_form is not None and run.baseline_tokens is not None
        staged_tokens = run.baseline_tokens
        full_tokens = Fraction(budget) / self._passes_per_token
        continual_tokens = full_tokens - run.recipe.closed_form(run.options, self.ratio) * staged_tokens
        total = staged_tokens + float(continual_tokens)
        steps = max(round_to_steps(total, run.batch_tokens), round_up_to_steps(staged_tokens, run.batch_tokens))
        return run.schedule(steps)

    def staged_share(self, run: RecipeRun, schedule: Schedule, baseline: Schedule) -> float:
        """The formula's own figure."""
        assert run.recipe.closed_form is not None
        return float(run.recipe.closed_form(run.options, self.ratio))

    @property
    def _passes_per_token(self) -> Fraction:
        return 1 + Fraction(self.ratio)


def nearest_schedule(run: RecipeRun, price: Price, budget: float, unit: str) -> Schedule:
    """The schedule of a run, in whole steps, whose price comes nearest to the budget.

    Args:
        run: gives the schedule for any number of steps; a longer one costs more, but for rounding.
        price: what a schedule costs, in `unit`.
        budget: what may be spent, in `unit`.
        unit: the word for it in errors.

    Raises:
        InvalidValueError: the recipe does not fit at any length, or its shortest run costs clearly more than the
            budget.
    """

    @cache
    def cost(steps: int) -> float | None:
        """The price of so many steps; None where they are too few for the recipe."""
        try:
            return price(run.schedule(steps))
        except ValueError:
            return None

    affordable, beyond = _bracket(run, cost, budget, unit)
    affordable, beyond = _narrow(cost, budget, affordable, beyond)
    around = range(max(1, affordable - _NEIGHBOURS), beyond + _NEIGHBOURS + 1)
    near = {steps: found for steps in around if (found := cost(steps)) is not None}
    if min(near) == beyond and near[beyond] > budget * _TOLERANCE:
        raise _too_dear(beyond, near[beyond], budget, unit)
    return run.schedule(min(near, key=lambda steps: (abs(near[steps] - budget), steps)))


Cost = Callable[[int], float | None]


def _bracket(run: RecipeRun, cost: Cost, budget: float, unit: str) -> tuple[int, int]:
    """Two numbers of steps: one that the budget covers, or too few for the recipe, and one beyond the budget."""
    affordable, beyond = 0, 1
    while (found := cost(beyond)) is None or found <= budget:
        if beyond > MAX_STEPS:
            run.schedule(beyond)  # raises the reason where the recipe fits no number of steps
            raise InvalidValueError(
                f"a budget of {budget:.4g} {unit} is more than {MAX_STEPS:,} steps: give less", value=budget
            )
        affordable, beyond = beyond, 4 * beyond
    return affordable, beyond


def _narrow(cost: Cost, budget: float, affordable: int, beyond: int) -> tuple[int, int]:
    """The same two, a step apart. Interpolation and halving alternate: interpolation alone can be very slow."""
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


def _too_dear(shortest: int, price: float, budget: float, unit: str) -> InvalidValueError:
    """The error where the shortest run costs more than the budget."""
    if shortest == 1:
        problem = f"a budget of {budget:.4g} {unit} is less than one step, which costs {price:.4g}: give more"
    else:
        problem = (
            f"a budget of {budget:.4g} {unit} is spent before every phase has had its tokens: the shortest run, "
            f"{shortest:,} steps, costs {price:.4g} {unit}, {price / budget:.2f} times as much"
        )
    return InvalidValueError(problem, value=budget)
