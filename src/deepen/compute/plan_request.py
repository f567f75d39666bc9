"""The request for a plan: a recipe, a baseline, and the budget of both."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deepen.compute.accounting import (
    Accounting,
    PaperAccounting,
    flops_accounting,
    seconds_accounting,
    tokens_accounting,
)
from deepen.compute.clock import Clock
from deepen.compute.ledger import Ledger
from deepen.compute.marks import MAX_STEPS, RecipeRun
from deepen.compute.memory_settings import MemorySettings
from deepen.errors import InvalidValueError, InvalidValuesError, join_or
from deepen.model.config import ModelConfig
from deepen.schedule.grid import round_to_steps
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.recipe import RecipeLike
from deepen.schedule.recipes import BASELINE, get_recipe
from deepen.schedule.schedule import Schedule

BUDGETS = ("tokens", "steps", "flops", "tokens_per_parameter", "hours")
"""Units of a budget. Parameters exclude embeddings; hours are of wall-clock time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRequest:
    """A request for a plan.

    Attributes:
        recipe, options: the recipe, by its name or as a function, and its options.
        model: the model at its full depth.
        budget, budget_unit: the baseline's budget, and its unit, one of `BUDGETS`.
        batch_tokens, context: tokens of a step and of a sequence.
        ledger: counts the FLOPs.
        memory: the settings that determine a step's memory.
        against: the baseline's recipe.
        ratio: price of a backward pass in forward passes, in the closed form of a recipe's paper.
        batch_ramp, context_ramp: batch and context during the run of the recipe; the baseline's do not change.
        limit_hours: the wall-clock time that there is, beside a budget in another unit.
        rate: the learning rate, which changes no price.
    """

    model: ModelConfig
    recipe: RecipeLike
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: float
    budget_unit: str
    batch_tokens: int
    context: int
    ledger: Ledger
    memory: MemorySettings
    against: RecipeLike = BASELINE.name
    ratio: float = 1.0
    batch_ramp: Ramp | None = None
    context_ramp: Ramp | None = None
    limit_hours: float | None = None
    rate: Rate = field(default_factory=WSD)

    def __post_init__(self) -> None:
        if errors := [*self._budget_errors(), *self._size_errors()]:
            raise InvalidValuesError(errors)

    def _budget_errors(self) -> Iterator[InvalidValueError]:
        if self.budget_unit not in BUDGETS:
            yield InvalidValueError(
                f"{self.budget_unit!r} is unknown: use {join_or(BUDGETS)}",
                field="budget_unit",
                value=self.budget_unit,
                allowed=BUDGETS,
            )
        if not 0 < self.budget < math.inf:
            yield InvalidValueError(
                f"is {self.budget}: it must be a number above 0", field="budget", value=self.budget
            )
        if self.limit_hours is not None and not 0 < self.limit_hours < math.inf:
            yield InvalidValueError(
                f"is {self.limit_hours}: it must be a number above 0", field="hours", value=self.limit_hours
            )
        if not 0 < self.ratio < math.inf:
            yield InvalidValueError(
                f"is {self.ratio}: it must be a number above 0", field="ratio", value=self.ratio
            )

    def _size_errors(self) -> Iterator[InvalidValueError]:
        batches = [size for _, size in self.batch_ramp.steps] if self.batch_ramp else [self.batch_tokens]
        contexts = [size for _, size in self.context_ramp.steps] if self.context_ramp else [self.context]
        for context in contexts:
            if context > self.model.context:
                yield InvalidValueError(
                    f"is {context}, but {self.model.name} has {self.model.context} positions",
                    field="context",
                    value=context,
                    remedy=f"use `context` {self.model.context} or less, or a llama, which has no position table",
                )
            for batch in batches:
                if error := self._batch_error(batch, context):
                    yield error

    def _batch_error(self, batch: int, context: int) -> InvalidValueError | None:
        devices = self.memory.devices
        share = context * devices
        if batch >= 1 and batch % share == 0:
            return None
        where = "batch_ramp" if self.batch_ramp else "batch_tokens"
        on_each = f" on each of {devices} devices" if devices > 1 else ""
        return InvalidValueError(
            f"is {batch}: it must be a multiple of context {context}, whole sequences{on_each}",
            field="batch_tokens",
            value=batch,
            remedy=f"use `{where}` with {max(1, -(-batch // share)) * share}",
        )

    @property
    def recipe_name(self) -> str:
        """The name of the recipe."""
        return get_recipe(self.recipe).name

    @property
    def run_name(self) -> str:
        """The name of the recipe's run, which tells it from the recipe's usual one and from the baseline's."""
        name = get_recipe(self.recipe).name_run(self.options)
        has_ramp = self.batch_ramp is not None or self.context_ramp is not None
        return f"{name} with ramp" if has_ramp else name

    @property
    def against_name(self) -> str:
        """The name of the baseline's run."""
        return get_recipe(self.against).name_run(self.against_options)

    @property
    def against_options(self) -> dict[str, Any]:
        """The options that the baseline's recipe has too."""
        against = get_recipe(self.against)
        if against is BASELINE:  # which always trains everything
            return {}
        return {name: value for name, value in self.options.items() if name in against.options}

    @property
    def baseline_run(self) -> RecipeRun:
        """The run of the baseline's recipe."""
        return RecipeRun(
            recipe=get_recipe(self.against),
            options=self.against_options,
            model=self.model,
            batch_tokens=self.batch_tokens,
            context=self.context,
            rate=self.rate,
            ledger=self.ledger,
        )

    def run(self, baseline_tokens: int) -> RecipeRun:
        """The run of the recipe, against a baseline of `baseline_tokens` tokens."""
        return replace(
            self.baseline_run,
            recipe=get_recipe(self.recipe),
            options=self.options,
            baseline_tokens=baseline_tokens,
            batch_ramp=self.batch_ramp,
            context_ramp=self.context_ramp,
        )

    def accountings(self, clock: Clock | None) -> tuple[Accounting, ...]:
        """The accountings of the plan; the first determines the run that is planned."""
        always = (flops_accounting(self.ledger), PaperAccounting(ratio=self.ratio), tokens_accounting())
        return always if clock is None else (*always, seconds_accounting(clock))


def baseline_schedule(request: PlanRequest, clock: Clock | None) -> Schedule:
    """The baseline's schedule in whole steps, from a budget in any unit.

    Args:
        request: what is planned.
        clock: gives the seconds of a phase; a budget in hours needs one.

    Raises:
        InvalidValueError: the budget is less than a step, or more steps than any run has.
    """
    run, batch, budget = request.baseline_run, request.batch_tokens, request.budget
    match request.budget_unit:
        case "flops":
            return flops_accounting(request.ledger).mark(run, budget)
        case "hours":
            assert clock is not None
            return seconds_accounting(clock).mark(run, budget * 3600)
        case "steps":
            tokens = budget * batch
        case "tokens_per_parameter":
            tokens = budget * request.model.parameters_non_embedding
        case _:
            tokens = budget
    steps = round_to_steps(tokens, batch)
    if steps < 1:
        raise InvalidValueError(
            f"a budget of {tokens:,.0f} tokens is less than one step of {batch:,}: give more", value=budget
        )
    if steps > MAX_STEPS:
        raise InvalidValueError(
            f"a budget of {tokens:.4g} tokens is more than {MAX_STEPS:,} steps: give less", value=budget
        )
    return run.schedule(steps)
