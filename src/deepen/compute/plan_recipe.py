"""The plan of a recipe from plain arguments, most of which have defaults."""

from collections.abc import Mapping
from typing import Any

from deepen.compute.clock import Clock
from deepen.compute.ledger import Ledger
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan import Plan, make_plan
from deepen.compute.plan_request import PlanRequest
from deepen.errors import InvalidValueError, look_up
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.schedule.ramp import Ramp
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.recipe import RecipeLike
from deepen.schedule.recipes import BASELINE


def plan_recipe(
    recipe: RecipeLike,
    *,
    model: ModelConfig | str = "gpt2-124m",
    options: Mapping[str, Any] | None = None,
    tokens: float | None = None,
    steps: float | None = None,
    flops: float | None = None,
    tokens_per_parameter: float | None = None,
    hours: float | None = None,
    batch_tokens: int | None = None,
    context: int | None = None,
    against: RecipeLike = BASELINE.name,
    ratio: float = 1.0,
    batch_ramp: Ramp | None = None,
    context_ramp: Ramp | None = None,
    causal_exact: bool = False,
    memory: MemorySettings | None = None,
    clock: Clock | None = None,
    rate: Rate | None = None,
) -> Plan:
    """Plan a recipe at the compute of a baseline.

    Args:
        recipe: a recipe's name, or a function from a model and a number of tokens to a schedule.
        model: the model at its full depth, or the name of a preset.
        options: the recipe's options.
        tokens, steps, flops, tokens_per_parameter, hours: the baseline's budget, in one of these units; by default
            10,000 steps. Hours beside another unit are a limit: the plan says whether the runs fit. Hours need a
            clock.
        batch_tokens, context: tokens of a step and of a sequence; by default the usual ones for the model.
        against: the baseline's recipe.
        ratio: price of a backward pass in forward passes, in the closed form of a recipe's paper.
        batch_ramp, context_ramp: batch and context during the run of the recipe; the baseline has the largest of
            each throughout.
        causal_exact: count only the half of the attention core that a causal mask leaves.
        memory: the settings that determine a step's memory.
        clock: gives seconds (see `compute.clock`).
        rate: the learning rate, which changes no cost; None for WSD.

    Raises:
        InvalidValueError, InvalidValuesError: the request cannot be used; nothing is planned.
    """
    config = look_up(PRESETS, model, field="model") if isinstance(model, str) else model
    budgets = {
        "tokens": tokens,
        "steps": steps,
        "flops": flops,
        "tokens_per_parameter": tokens_per_parameter,
        "hours": hours,
    }
    given = {unit: amount for unit, amount in budgets.items() if amount is not None}
    limit_hours = given.pop("hours", None) if len(given) > 1 else None
    if len(given) > 1:
        raise InvalidValueError(f"{' and '.join(given)} all set the budget: give one of them", value=given)
    [(unit, amount)] = given.items() if given else [("steps", 10_000)]
    if context_ramp is not None:
        context = context_ramp.largest
    elif context is None:
        context = config.context
    if batch_ramp is not None:
        batch_tokens = batch_ramp.largest
    elif batch_tokens is None:
        batch_tokens = tokens_per_step(config, context)
    memory = MemorySettings() if memory is None else memory
    request = PlanRequest(
        recipe=recipe,
        model=config,
        options={} if options is None else options,
        budget=amount,
        budget_unit=unit,
        batch_tokens=batch_tokens,
        context=context,
        ledger=Ledger(
            model=config,
            causal_exact=causal_exact,
            activation_checkpointing=memory.activation_checkpointing,
            optimizer=memory.optimizer,
        ),
        memory=memory,
        against=against,
        ratio=ratio,
        batch_ramp=batch_ramp,
        context_ramp=context_ramp,
        limit_hours=limit_hours,
        rate=WSD() if rate is None else rate,
    )
    return make_plan(request, clock)
