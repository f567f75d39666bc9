"""Accountings: ways to price compute, so that two runs can be compared at equal compute.

    accounting = flops_accounting(Ledger(model=model))
    budget = accounting.budget(baseline_schedule)   # the price of the baseline
    accounting.mark(run, budget)                    # the schedule of the run that costs as much

FLOPs, tokens and seconds price any schedule, and their marks are found by search (`compute.marks`). The accounting
`paper` computes the mark from the formula of a recipe's paper, and applies only to the comparison that the formula
is for.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction

from deepen.compute.clock import Clock
from deepen.compute.ledger import Ledger, phase_flops
from deepen.compute.marks import Price, RecipeRun, nearest_schedule
from deepen.schedule.grid import round_to_steps, round_up_to_steps
from deepen.schedule.phase import Part
from deepen.schedule.recipe import Recipe
from deepen.schedule.recipes import BASELINE
from deepen.schedule.schedule import Schedule

EXACT_FLOPS, PAPER, TOKENS, SECONDS = "flops", "paper", "tokens", "seconds"
"""Names of the accountings, in plans, studies and results."""


class AtBudget:
    """What is measured or judged at a budget; `budget_share` is the budget ÷ the budget of the study."""

    __slots__ = ()
    accounting: str
    budget_share: float | None

    @property
    def is_exact(self) -> bool:
        """Whether compute is counted in exact FLOPs."""
        return self.accounting == EXACT_FLOPS

    @property
    def is_whole_budget(self) -> bool:
        """Whether the budget is the study's, as in files that have no share."""
        return self.budget_share is None or self.budget_share == 1.0


class Accounting(ABC):
    """A way to price compute.

    Attributes:
        name: its name in plans, studies and results.
        unit: the unit of prices and budgets.
    """

    name: str
    unit: str

    def applies_to(self, run: RecipeRun, against: Recipe) -> bool:
        """Whether a run can be priced in a comparison with a recipe."""
        return True

    @abstractmethod
    def budget(self, baseline: Schedule) -> float:
        """The price of the baseline."""

    @abstractmethod
    def mark(self, run: RecipeRun, budget: float) -> Schedule:
        """The run whose price comes nearest to the budget.

        Raises:
            InvalidValueError: no run comes near the budget; the message gives the reason.
        """

    @abstractmethod
    def staged_share(self, run: RecipeRun, schedule: Schedule, baseline: Schedule) -> float:
        """The price of a schedule's staged part ÷ the price of the baseline."""


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
        """Search for the run whose price comes nearest to the budget."""
        return nearest_schedule(run, self.price, budget, self.unit)

    def staged_share(self, run: RecipeRun, schedule: Schedule, baseline: Schedule) -> float:
        """The price of the phases before the continual one ÷ the price of the baseline."""
        staged = tuple(phase for phase in schedule.phases if phase.part is not Part.CONTINUAL)
        return self.price(replace(schedule, phases=staged)) / self.price(baseline)


def flops_accounting(ledger: Ledger) -> PricedAccounting:
    """Exact FLOPs."""
    return PricedAccounting(
        name=EXACT_FLOPS, unit="FLOPs", price=lambda schedule: sum(phase_flops(ledger, schedule))
    )


def tokens_accounting() -> PricedAccounting:
    """Tokens: what a run costs if it trains on as many tokens as the baseline."""
    return PricedAccounting(name=TOKENS, unit="tokens", price=lambda schedule: schedule.tokens)


def seconds_accounting(clock: Clock) -> PricedAccounting:
    """Seconds by a clock."""

    def price(schedule: Schedule) -> float:
        return sum(map(clock, schedule.phases, schedule.trained_parts))

    return PricedAccounting(name=SECONDS, unit="seconds", price=price)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperAccounting(Accounting):
    """The formula of a recipe's paper, for its comparison with full training.

    The unit is a forward pass of the whole model on one token. `ratio` is the price of a backward pass in forward
    passes.
    """

    name: str = PAPER
    unit: str = "forward passes"
    ratio: float = 1.0

    def applies_to(self, run: RecipeRun, against: Recipe) -> bool:
        """Whether the recipe's paper has a formula for this comparison."""
        return run.recipe.closed_form is not None and against is BASELINE

    def budget(self, baseline: Schedule) -> float:
        """Forward passes of full training: per token one, and `ratio` for its backward pass."""
        return float(self._passes_per_token * baseline.tokens)

    def mark(self, run: RecipeRun, budget: float) -> Schedule:
        """The run that spends the budget according to the formula."""
        assert run.recipe.closed_form is not None and run.baseline_tokens is not None
        staged_tokens = run.baseline_tokens
        full_tokens = Fraction(budget) / self._passes_per_token
        continual_tokens = full_tokens - run.recipe.closed_form(run.options, self.ratio) * staged_tokens
        total = staged_tokens + float(continual_tokens)
        steps = max(round_to_steps(total, run.batch_tokens), round_up_to_steps(staged_tokens, run.batch_tokens))
        return run.schedule(steps)

    def staged_share(self, run: RecipeRun, schedule: Schedule, baseline: Schedule) -> float:
        """The share that the formula gives."""
        assert run.recipe.closed_form is not None
        return float(run.recipe.closed_form(run.options, self.ratio))

    @property
    def _passes_per_token(self) -> Fraction:
        return 1 + Fraction(self.ratio)
