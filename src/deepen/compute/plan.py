"""A plan: what a recipe costs, phase by phase, and at which length its compute equals the baseline's.

    plan = plan_recipe("two-phase", model="gpt2-124m", options={"stages": 4}, steps=10_000)
    plan.marks["flops"].schedule.steps     # 13,983 steps cost as many FLOPs as 10,000 of full training
    plan.marks["paper"].schedule.steps     # 14,688 by the formula of the recipe's paper
    plan.peak.memory.peak                  # bytes on each device in the phase that needs most

The budget of a request is the baseline's. It determines the baseline's schedule. Each accounting prices that
schedule and finds the run of the recipe that costs as much (see `compute.marks`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from deepen.compute.accounting import TOKENS, Accounting, PaperAccounting, seconds_accounting
from deepen.compute.clock import Clock
from deepen.compute.ledger import phase_flops
from deepen.compute.marks import RecipeRun
from deepen.compute.memory import PhaseMemory, phase_memory
from deepen.compute.plan_request import PlanRequest, baseline_schedule
from deepen.compute.triggers import check_triggers, decide_schedule, end_early
from deepen.errors import InvalidValueError, add_context
from deepen.schedule.phase import Part, Phase
from deepen.schedule.recipes import get_recipe
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TrainedParts

RATIOS = (1.0, 1.5, 2.0, 2.5, 3.0)
"""Prices of a backward pass in forward passes for which a plan gives the continual share of a closed form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPhase:
    """A phase and what it costs: FLOPs, bytes, and seconds if there is a clock."""

    phase: Phase
    trained: TrainedParts
    flops: int
    memory: PhaseMemory
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """A whole run and what it costs."""

    schedule: Schedule
    flops: int
    seconds: float | None

    @property
    def continual_tokens(self) -> int:
        """Tokens of the continual phase."""
        return sum(phase.tokens for phase in self.schedule.phases if phase.part is Part.CONTINUAL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The result of a request.

    Attributes:
        request: the request.
        phases: the phases of `total`.
        total: the run that costs as many exact FLOPs as the baseline.
        baseline: the baseline's run.
        marks: for each accounting, by name, the run that costs as much as the baseline.
        impossible: for each accounting without such a run, the reason.
        staged_share: for each accounting, the price of the staged part ÷ the price of the baseline; empty for
            recipes without a staged part.
        earliest: the run that costs as much if plateaus end phases as early as they can, while in `total` they do
            not; None if no phase may end on a plateau.
        ratios: for each price of a backward pass in forward passes, tokens of the continual phase ÷ tokens of the
            baseline by the closed form of the recipe's paper; empty if it has none.
    """

    request: PlanRequest
    phases: tuple[PlannedPhase, ...]
    total: PlannedRun
    baseline: PlannedRun
    marks: Mapping[str, PlannedRun]
    impossible: Mapping[str, str]
    staged_share: Mapping[str, float]
    ratios: Mapping[float, float]
    earliest: PlannedRun | None = None

    @property
    def peak(self) -> PlannedPhase:
        """The phase that needs the most memory; the first if several do."""
        return max(self.phases, key=lambda planned: planned.memory.peak)

    @property
    def equal_tokens(self) -> PlannedRun | None:
        """The run that trains on as many tokens as the baseline; None if there is none, or it is the baseline."""
        run = self.marks.get(TOKENS)
        return None if run is None or run.schedule == self.baseline.schedule else run

    def fits_into_limit(self, run: PlannedRun) -> float | None:
        """How many times a run fits into the time limit: below 1 it does not; None if there is no limit."""
        if self.request.limit_hours is None or run.seconds is None:
            return None
        return self.request.limit_hours * 3600 / run.seconds

    @property
    def budget_reached(self) -> float:
        """What the baseline spends in whole steps, in the unit of the requested budget."""
        schedule, model = self.baseline.schedule, self.request.model
        seconds = 0.0 if self.baseline.seconds is None else self.baseline.seconds
        return {
            "tokens": schedule.tokens,
            "steps": schedule.steps,
            "flops": self.baseline.flops,
            "tokens_per_parameter": schedule.tokens / model.parameters_non_embedding,
            "hours": seconds / 3600,
        }[self.request.budget_unit]


def make_plan(request: PlanRequest, clock: Clock | None = None) -> Plan:
    """Make the plan for a request.

    Args:
        request: what is planned.
        clock: gives the seconds of a phase; None plans without seconds.

    Raises:
        InvalidValueError: the recipe does not fit the model, or the budget is spent before its staged part ends.
    """
    if clock is None and (request.budget_unit == "hours" or request.limit_hours is not None):
        raise InvalidValueError(
            "hours need the seconds of a step", remedy="name a `device`, or a file of `bench` figures"
        )
    baseline = _price_run(request, clock, baseline_schedule(request, clock))
    run = request.run(baseline.schedule.tokens)
    applicable = [each for each in request.accountings(clock) if each.applies_to(run, get_recipe(request.against))]
    marks, impossible = _find_marks(request, clock, run, baseline, applicable)
    total = marks[applicable[0].name]
    return Plan(
        request=request,
        phases=_price_phases(request, clock, total.schedule),
        total=total,
        baseline=baseline,
        marks=marks,
        impossible=impossible,
        staged_share=_staged_shares(run, total, baseline, applicable),
        ratios=_closed_form_shares(run, applicable),
        earliest=_earliest(request, clock, run, baseline, applicable[0]) if total.schedule.has_trigger else None,
    )


def _earliest(
    request: PlanRequest, clock: Clock | None, run: RecipeRun, baseline: PlannedRun, accounting: Accounting
) -> PlannedRun:
    """`Plan.earliest`."""
    budget = accounting.budget(baseline.schedule)
    schedule = decide_schedule(run, lambda run: accounting.mark(run, budget), end_early)
    return _price_run(request, clock, schedule)


def _find_marks(
    request: PlanRequest,
    clock: Clock | None,
    run: RecipeRun,
    baseline: PlannedRun,
    accountings: list[Accounting],
) -> tuple[dict[str, PlannedRun], dict[str, str]]:
    """`Plan.marks` and `Plan.impossible`; the first accounting must have a mark."""
    marks: dict[str, PlannedRun] = {}
    impossible: dict[str, str] = {}
    for accounting in accountings:
        try:
            schedule = accounting.mark(run, accounting.budget(baseline.schedule))
            check_triggers(run, schedule)
        except ValueError as error:
            problem = add_context(error, f"{request.recipe_name} against {request.against_name}")
            if accounting is accountings[0]:
                raise problem from None
            impossible[accounting.name] = str(problem)
        else:
            marks[accounting.name] = _price_run(request, clock, schedule)
    return marks, impossible


def _staged_shares(
    run: RecipeRun, total: PlannedRun, baseline: PlannedRun, accountings: list[Accounting]
) -> dict[str, float]:
    if not run.recipe.has_staged_part:
        return {}
    return {each.name: each.staged_share(run, total.schedule, baseline.schedule) for each in accountings}


def _closed_form_shares(run: RecipeRun, accountings: list[Accounting]) -> dict[float, float]:
    if not any(isinstance(each, PaperAccounting) for each in accountings):
        return {}
    return {ratio: float(run.recipe.continual_share(run.options, ratio)) for ratio in RATIOS}


def _price_run(request: PlanRequest, clock: Clock | None, schedule: Schedule) -> PlannedRun:
    return PlannedRun(
        schedule=schedule,
        flops=sum(phase_flops(request.ledger, schedule)),
        seconds=None if clock is None else seconds_accounting(clock).price(schedule),
    )


def _price_phases(request: PlanRequest, clock: Clock | None, schedule: Schedule) -> tuple[PlannedPhase, ...]:
    @cache  # phases that train the same parts of the same batch need the same memory
    def memory(trained: TrainedParts, batch_tokens: int, context: int) -> PhaseMemory:
        kind = Phase(depth=trained.depth, tokens=0, label="", batch_tokens=batch_tokens, context=context)
        return phase_memory(request.model, kind, trained, request.memory)

    flops = phase_flops(request.ledger, schedule)
    return tuple(
        PlannedPhase(
            phase=phase,
            trained=trained,
            flops=cost,
            memory=memory(trained, phase.batch_tokens, phase.context),
            seconds=None if clock is None else clock(phase, trained),
        )
        for phase, trained, cost in zip(schedule.phases, schedule.trained_parts, flops, strict=True)
    )
