"""A plan: what a recipe costs, phase by phase, and where its compute equals the baseline's. Trains nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepen.compute import paper
from deepen.compute.ledger import Ledger, new_blocks_of, phase_flops
from deepen.compute.marks import Price, flops_price, schedule_at_budget, schedule_at_papers_mark
from deepen.compute.memory import MemorySettings, PhaseMemory, phase_memory
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase, Schedule, steps_of
from deepen.schedule.ramp import Ramp, ramped
from deepen.schedule.recipes import is_continual, make_schedule, stages_of

Clock = Callable[[Phase, Sequence[int], int], float]
"""Seconds of a phase, from the phase, its new blocks and its FLOPs."""

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
        if self.budget_unit not in BUDGETS:
            raise ValueError(f"budget unit {self.budget_unit!r} is unknown: use {', '.join(BUDGETS)}")
        if self.budget_unit == "hours" and self.clock is None:
            raise ValueError("a budget in hours needs a device: name one with --device, or a --bench file")
        batches = [size for _, size in self.batch_ramp.steps] if self.batch_ramp else [self.batch_tokens]
        contexts = [size for _, size in self.context_ramp.steps] if self.context_ramp else [self.context]
        for context in contexts:
            if context > self.model.context:
                raise ValueError(
                    f"context is {context}, but {self.model.name} has {self.model.context} positions: "
                    f"use --context {self.model.context} or less, or a llama, whose positions are no table"
                )
            for batch in batches:
                if batch < 1 or batch % context:
                    raise ValueError(f"batch_tokens is {batch}: it must be a multiple of context {context}")
                if batch % (share := context * self.memory.devices):
                    raise ValueError(
                        f"a batch of {batch:,} tokens is no whole number of sequences of {context:,} on each of "
                        f"{self.memory.devices} devices: use --batch-tokens {-(-batch // share) * share}"
                    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPhase:
    """A phase with its price: FLOPs, bytes, and seconds where they can be told."""

    phase: Phase
    new_blocks: tuple[int, ...]
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
        return sum(phase.tokens for phase in self.schedule.phases if is_continual(phase))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The answer to a request.

    `total` ends at the mark of equal exact FLOPs, and `phases` are its; `marks` holds the run that ends at
    the mark of each accounting; `staged_share` what the staged part costs ÷ the baseline, by accounting;
    `ratios` the paper's continual share by backward:forward ratio (empty but for `two-phase`).
    """

    request: Request
    phases: tuple[PlannedPhase, ...]
    total: Total
    baseline: Total
    marks: Mapping[str, Total]
    staged_share: Mapping[str, float]
    ratios: Mapping[float, float]

    @property
    def peak(self) -> PlannedPhase:
        """The phase that needs the most memory, the first of equals."""
        return max(self.phases, key=lambda planned: planned.memory.peak)


RATIOS = (1.0, 1.5, 2.0, 2.5, 3.0)


def make_plan(request: Request) -> Plan:
    """Work a request out.

    Raises:
        ValueError: the recipe does not fit the model, or the budget is spent before its staged part ends.
    """
    baseline = _total(request, _baseline(request))
    marks = _marks(request, baseline)
    total = marks["flops"]
    staged: dict[str, float] = {}
    ratios: dict[float, float] = {}
    if any(mark.continual_tokens for mark in marks.values()):
        part = [phase for phase in total.schedule.phases if not is_continual(phase)]
        before = _total(request, Schedule(phases=tuple(part), growth=total.schedule.growth))
        staged["flops"] = before.flops / baseline.flops
        if before.seconds is not None and baseline.seconds is not None:
            staged["seconds"] = before.seconds / baseline.seconds
    if _has_papers_price(request):
        stages = stages_of(request.options)
        staged["paper"] = float(paper.staged_share(stages, request.ratio))
        ratios = {ratio: float(paper.continual_share(stages, ratio)) for ratio in RATIOS}
    return Plan(
        request=request,
        phases=_phases(request, total.schedule),
        total=total,
        baseline=baseline,
        marks=marks,
        staged_share=staged,
        ratios=ratios,
    )


def _baseline(request: Request) -> Schedule:
    """The baseline in whole steps, for the budget as it was given."""
    batch = request.batch_tokens

    def make(tokens: int) -> Schedule:
        schedule = make_schedule(request.against, request.model, tokens, tokens, {})
        return ramped(schedule, batch=request.batch_ramp, context=request.context_ramp, batch_tokens=batch)

    match request.budget_unit:
        case "flops":
            price = flops_price(request.ledger)
            return schedule_at_budget(make, price, request.budget, batch, request.context)
        case "hours":
            seconds = request.budget * 3600
            return schedule_at_budget(make, _seconds_price(request), seconds, batch, request.context, "seconds")
        case "steps":
            tokens = request.budget * batch
        case "tokens_per_parameter":
            tokens = request.budget * request.model.parameters_non_embedding
        case _:
            tokens = request.budget
    steps = steps_of(tokens, batch)
    if steps < 1:
        raise ValueError(f"a budget of {tokens:,.0f} tokens is less than one step of {batch:,}: give more")
    return make(steps * batch).in_steps(batch, request.context)


def _has_papers_price(request: Request) -> bool:
    """Whether the paper's closed form is of this comparison: its recipe, held against full training."""
    return request.recipe == "two-phase" and request.against == "full"


def _marks(request: Request, baseline: Total) -> dict[str, Total]:
    """The run of the recipe that ends at equal price, by accounting."""
    tokens, batch, context = baseline.schedule.tokens, request.batch_tokens, request.context

    def make(total: int) -> Schedule:
        schedule = make_schedule(request.recipe, request.model, total, tokens, request.options)
        return ramped(schedule, batch=request.batch_ramp, context=request.context_ramp, batch_tokens=batch)

    def equal(price: Price, budget: float, unit: str) -> Total:
        try:
            return _total(request, schedule_at_budget(make, price, budget, batch, context, unit))
        except ValueError as error:
            raise ValueError(f"{request.recipe} against {request.against}: {error}") from None

    marks = {"flops": equal(flops_price(request.ledger), baseline.flops, "FLOPs")}
    if _has_papers_price(request):
        stages = stages_of(request.options)
        schedule = schedule_at_papers_mark(make, tokens, stages, batch, context, request.ratio)
        marks["paper"] = _total(request, schedule)
    if baseline.seconds is not None:
        marks["seconds"] = equal(_seconds_price(request), baseline.seconds, "seconds")
    return marks


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


def _priced(request: Request, schedule: Schedule) -> list[tuple[Phase, tuple[int, ...], int, float | None]]:
    """Each phase with its new blocks, FLOPs and seconds."""
    priced: list[tuple[Phase, tuple[int, ...], int, float | None]] = []
    each = zip(schedule.phases, new_blocks_of(schedule), phase_flops(request.ledger, schedule), strict=True)
    for phase, blocks, flops in each:
        priced.append((phase, blocks, flops, request.clock(phase, blocks, flops) if request.clock else None))
    return priced


def _phases(request: Request, schedule: Schedule) -> tuple[PlannedPhase, ...]:
    kinds: dict[Any, PhaseMemory] = {}  # phases of a kind need the same memory
    planned = []
    for phase, blocks, flops, seconds in _priced(request, schedule):
        kind = (phase.depth, phase.train, phase.batch_tokens, phase.context, blocks)
        if kind not in kinds:
            kinds[kind] = phase_memory(request.model, phase, blocks, request.memory)
        planned.append(
            PlannedPhase(phase=phase, new_blocks=blocks, flops=flops, memory=kinds[kind], seconds=seconds)
        )
    return tuple(planned)
