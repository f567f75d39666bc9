"""A plan: what a recipe costs, phase by phase, and where its compute equals the baseline's. Trains nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from deepen.compute.ledger import Ledger, phase_flops
from deepen.compute.marks import MAX_STEPS, Price, flops_price, schedule_at_budget, schedule_at_papers_mark
from deepen.compute.memory import PhaseMemory, phase_memory
from deepen.compute.memory_settings import MemorySettings
from deepen.model.config import ModelConfig
from deepen.schedule.grid import round_to_steps
from deepen.schedule.phase import Part, Phase, Schedule
from deepen.schedule.ramp import Ramp, ramped
from deepen.schedule.recipes import BASELINE, get_recipe
from deepen.schedule.trainable import TrainedParts

Clock = Callable[[Phase, TrainedParts], float]
"""Seconds of a phase, from the phase and what it trains."""

BUDGETS = ("tokens", "steps", "flops", "tokens_per_parameter", "hours")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be planned.

    `budget` is the baseline's, in the unit that `budget_unit` names: tokens, steps, FLOPs, tokens per
    non-embedding parameter, or hours. `against` is the recipe the compute is held against. `ratio` is the
    backward:forward price in the paper's closed form. `clock` tells seconds, where they can be told.
    """

    model: ModelConfig
    recipe: str
    options: Mapping[str, Any]
    budget: float
    budget_unit: str
    batch_tokens: int
    context: int
    ledger: Ledger
    memory: MemorySettings
    against: str = "full"
    ratio: float = 1.0
    batch_ramp: Ramp | None = None
    context_ramp: Ramp | None = None
    clock: Clock | None = None

    def __post_init__(self) -> None:
        if problems := [*self._problems()]:
            raise ValueError("\n".join(dict.fromkeys(problems)))

    def _problems(self) -> Iterator[str]:
        """All that is wrong, a line each."""
        if self.budget_unit not in BUDGETS:
            yield f"budget unit {self.budget_unit!r} is unknown: use {', '.join(BUDGETS)}"
        if self.budget_unit == "hours" and self.clock is None:
            yield "a budget in hours needs a device: name one with --device, or a --bench file"
        batches = [size for _, size in self.batch_ramp.steps] if self.batch_ramp else [self.batch_tokens]
        contexts = [size for _, size in self.context_ramp.steps] if self.context_ramp else [self.context]
        for context in contexts:
            if context > self.model.context:
                yield (
                    f"context is {context}, but {self.model.name} has {self.model.context} positions: "
                    f"use --context {self.model.context} or less, or a llama, whose positions are no table"
                )
            share = context * self.memory.devices
            for batch in batches:
                if batch < 1 or batch % share:
                    where = "--batch-ramp" if self.batch_ramp else "--batch-tokens"
                    on = f" on each of {self.memory.devices} devices" if self.memory.devices > 1 else ""
                    yield (
                        f"batch_tokens is {batch}: it must be a multiple of context {context}, "
                        f"whole sequences{on}: use {where} with {max(1, -(-batch // share)) * share}"
                    )

    @property
    def against_options(self) -> dict[str, Any]:
        """The recipe's own options, as far as what it is held against has them too."""
        return {name: value for name, value in self.options.items() if name in get_recipe(self.against).options}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPhase:
    """A phase with its price: FLOPs, bytes, and seconds where they can be told."""

    phase: Phase
    trained: TrainedParts
    flops: int
    memory: PhaseMemory
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """A schedule and what it costs in all."""

    schedule: Schedule
    flops: int
    seconds: float | None

    @property
    def continual_tokens(self) -> int:
        """Tokens of the continual phase."""
        return sum(phase.tokens for phase in self.schedule.phases if phase.part is Part.CONTINUAL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The answer to a request.

    `total` ends at the mark of equal exact FLOPs, and `phases` are its; `marks` holds the run that ends at
    the mark of each accounting, `impossible` says why one has none; `staged_share` is what the staged part
    costs ÷ the baseline, by accounting; `ratios` the paper's continual share by backward:forward ratio (empty
    but for `two-phase`).
    """

    request: Request
    phases: tuple[PlannedPhase, ...]
    total: Total
    baseline: Total
    marks: Mapping[str, Total]
    impossible: Mapping[str, str]
    staged_share: Mapping[str, float]
    ratios: Mapping[float, float]

    @property
    def peak(self) -> PlannedPhase:
        """The phase that needs the most memory, the first of equals."""
        return max(self.phases, key=lambda planned: planned.memory.peak)


def remedy(plan: Plan, capacity_bytes: int) -> dict[str, Any] | None:
    """The first of the usual ways that makes a plan fit into a device's memory, as settings that change.

    Tried in turn: one sequence at a time, recomputed activations, both, sharding over the devices there are,
    over more devices.
    """
    settings = plan.request.memory
    leaner: list[dict[str, Any]] = [
        {},
        {"micro_batch_tokens": plan.request.context},
        {"activation_checkpointing": True},
        {"micro_batch_tokens": plan.request.context, "activation_checkpointing": True},
    ]
    more = [{"devices": settings.devices * 2**n, "sharded": True} for n in range(1, 12)]
    fleets: list[dict[str, Any]] = [{}, {"sharded": True}, *more] if settings.devices > 1 else [{}, *more]
    for fleet in fleets:
        for lean in leaner:
            changed = replace(settings, **lean, **fleet)
            peaks = (phase_memory(plan.request.model, p.phase, p.trained, changed).peak for p in plan.phases)
            if all(peak <= capacity_bytes for peak in peaks):
                return {key: value for key, value in {**fleet, **lean}.items() if getattr(settings, key) != value}
    return None


RATIOS = (1.0, 1.5, 2.0, 2.5, 3.0)


def make_plan(request: Request) -> Plan:
    """Work a request out.

    Raises:
        ValueError: the recipe does not fit the model, or the budget is spent before its staged part ends.
    """
    baseline = _total(request, _baseline(request))
    marks, impossible = _marks(request, baseline)
    total = marks["flops"]
    staged: dict[str, float] = {}
    ratios: dict[float, float] = {}
    recipe = get_recipe(request.recipe)
    if recipe.has_staged_part:
        part = [phase for phase in total.schedule.phases if phase.part is not Part.CONTINUAL]
        before = _total(request, Schedule(phases=tuple(part), growth=total.schedule.growth))
        staged["flops"] = before.flops / baseline.flops
        if before.seconds is not None and baseline.seconds is not None:
            staged["seconds"] = before.seconds / baseline.seconds
    if _has_papers_price(request):
        staged["paper"] = float(1 - recipe.continual_share(request.options, request.ratio))
        ratios = {ratio: float(recipe.continual_share(request.options, ratio)) for ratio in RATIOS}
    return Plan(
        request=request,
        phases=_phases(request, total.schedule),
        total=total,
        baseline=baseline,
        marks=marks,
        impossible=impossible,
        staged_share=staged,
        ratios=ratios,
    )


def _baseline(request: Request) -> Schedule:
    """The baseline in whole steps, for the budget as it was given."""
    batch = request.batch_tokens

    def make(tokens: int) -> Schedule:
        schedule = get_recipe(request.against).schedule(request.model, tokens, tokens, request.against_options)
        return ramped(schedule, batch=request.batch_ramp, context=request.context_ramp, batch_tokens=batch)

    match request.budget_unit:
        case "flops":
            price = flops_price(request.ledger)
            return schedule_at_budget(make, price, request.budget, batch, request.context)
        case "hours":
            seconds = request.budget * 3600
            return schedule_at_budget(make, _seconds_price(request), seconds, batch, request.context, "seconds")
        case "steps" if request.batch_ramp:
            return schedule_at_budget(
                make, lambda schedule: schedule.steps, request.budget, batch, request.context, "steps"
            )
        case "steps":
            tokens = request.budget * batch
        case "tokens_per_parameter":
            tokens = request.budget * request.model.parameters_non_embedding
        case _:
            tokens = request.budget
    steps = round_to_steps(tokens, batch)
    if steps < 1:
        raise ValueError(f"a budget of {tokens:,.0f} tokens is less than one step of {batch:,}: give more")
    if steps > MAX_STEPS:
        raise ValueError(f"a budget of {tokens:.4g} tokens is more than {MAX_STEPS:,} steps: give less")
    return make(steps * batch).in_steps(batch, request.context)


def _has_papers_price(request: Request) -> bool:
    """Whether the recipe's source has a closed form for this comparison: it is of full training."""
    return get_recipe(request.recipe).closed_form is not None and get_recipe(request.against) is BASELINE


def _marks(request: Request, baseline: Total) -> tuple[dict[str, Total], dict[str, str]]:
    """The run of the recipe that ends at equal price, by accounting, and why there is none by another."""
    tokens, batch, context = baseline.schedule.tokens, request.batch_tokens, request.context
    recipe = get_recipe(request.recipe)

    def make(total: int) -> Schedule:
        schedule = recipe.schedule(request.model, total, tokens, request.options)
        return ramped(schedule, batch=request.batch_ramp, context=request.context_ramp, batch_tokens=batch)

    def equal(price: Price, budget: float, unit: str) -> Total:
        try:
            return _total(request, schedule_at_budget(make, price, budget, batch, context, unit))
        except ValueError as error:
            raise ValueError(f"{request.recipe} against {request.against}: {error}") from None

    marks = {"flops": equal(flops_price(request.ledger), baseline.flops, "FLOPs")}
    if _has_papers_price(request):
        share = recipe.continual_share(request.options, request.ratio)
        schedule = schedule_at_papers_mark(make, tokens, share, batch, context)
        marks["paper"] = _total(request, schedule)
    impossible = {}
    if baseline.seconds is not None:
        try:
            marks["seconds"] = equal(_seconds_price(request), baseline.seconds, "seconds")
        except ValueError as error:  # the plan stands without it
            impossible["seconds"] = str(error)
    return marks, impossible


def _total(request: Request, schedule: Schedule) -> Total:
    priced = _priced(request, schedule)
    times = [seconds for _, _, _, seconds in priced if seconds is not None]
    return Total(
        schedule=schedule,
        flops=sum(flops for _, _, flops, _ in priced),
        seconds=sum(times) if request.clock else None,
    )


def _seconds_price(request: Request) -> Price:
    return lambda schedule: _total(request, schedule).seconds or 0.0


def _priced(request: Request, schedule: Schedule) -> list[tuple[Phase, TrainedParts, int, float | None]]:
    """Each phase with what it trains, FLOPs and seconds."""
    each = zip(schedule.phases, schedule.trained_parts, phase_flops(request.ledger, schedule), strict=True)
    return [
        (phase, trained, flops, request.clock(phase, trained) if request.clock else None)
        for phase, trained, flops in each
    ]


def _phases(request: Request, schedule: Schedule) -> tuple[PlannedPhase, ...]:
    kinds: dict[Any, PhaseMemory] = {}  # phases of a kind need the same memory
    planned = []
    for phase, trained, flops, seconds in _priced(request, schedule):
        kind = (trained, phase.batch_tokens, phase.context)
        if kind not in kinds:
            kinds[kind] = phase_memory(request.model, phase, trained, request.memory)
        planned.append(
            PlannedPhase(phase=phase, trained=trained, flops=flops, memory=kinds[kind], seconds=seconds)
        )
    return tuple(planned)
