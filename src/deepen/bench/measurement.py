"""The bench: what steps of each kind of phase take on this device, measured with the engine itself."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from deepen.bench.rivals import Pace, Task, race, rival
from deepen.compute.ledger import Ledger
from deepen.compute.timing import MeasuredPhase, Timing, fit_timing, misfit
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.growth.layout import find_new_blocks, get_placement
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.rate import RatePiece
from deepen.schedule.trainable import TRAINABLE_SETS, Trainable, TrainedParts
from deepen.train.device import machine_name, measured_peak, peak_memory_bytes, reset_peak_memory
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.segment import Segment
from deepen.train.settings import PRECISIONS, TrainSettings
from deepen.train.state import Progress, TrainState, initial_state

ROUNDS = 10
"""Turns that each kind gets at most, so that a machine that slows down meanwhile slows all kinds alike."""

CALIBRATION_TOKENS = 1024

CALIBRATION_STEPS = 4
"""Of each precision, the first to warm up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is measured: a model at its final depth, and steps of so many tokens.

    Args:
        model: at its final depth.
        context, batch_tokens: of a step, in tokens.
        settings: how a step is taken.
        device: where.
    """

    model: ModelConfig
    context: int
    batch_tokens: int
    settings: TrainSettings
    device: torch.device

    @property
    def warm_up_steps(self) -> int:
        """Steps at the beginning of each turn that do not count: the first makes the optimizer's moments.

        CUDA graphs are warmed up, then recorded, then replayed.
        """
        return 3 if self.settings.compile == "cuda-graphs" else 1

    def full_training(self) -> Engine:
        """An engine that trains everything at full depth on random tokens, for as long as it is asked to."""
        phase, trained = phase_kinds(self.model, self.batch_tokens, self.context)[0]
        price = Ledger(model=self.model).flops_per_token(trained, phase.context)
        segment = _segment(phase, trained, price, 1 << 40)
        return self.engine(initial_state(self.model, self.model.depth, seed=0), segment)

    def engine(self, state: TrainState, segment: Segment) -> Engine:
        """An engine for a segment, on random tokens."""
        batches = Batches(Tokens([self.drawn()]), self.context, seed=0)
        return Engine(state, segment, self.model, batches, self.settings, SingleProcess(self.device))

    def drawn(self) -> NDArray[np.uint16]:
        """Random tokens. Shards hold 16 bits each; which rows of a larger table are read takes the same time."""
        return (
            np.random.RandomState(0)
            .randint(0, min(self.model.vocab, 1 << 16), 8 * self.context + (1 << 20))
            .astype(np.uint16)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchedKind:
    """A kind of phase and what its steps took.

    `flops_per_token` is the ledger's price; `measured_to_ledger` is seconds ÷ FLOPs, each relative to training
    everything at full depth: above 1 the device takes longer for this kind than its price says. `mfu` is the share
    of the device's measured peak that the FLOPs of training make up (model FLOPs utilization, Chowdhery et al.
    2022, arXiv 2204.02311, appendix B; the FLOPs are the ledger's).
    """

    label: str
    depth: int
    scope: str
    new_blocks: tuple[int, ...]
    tokens_per_second: float
    seconds_per_token: float
    flops_per_token: int
    measured_to_ledger: float
    mfu: float
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """The kinds, the first training everything at full depth, the timing fitted to them, its largest misfit.

    `peak_flops` is what the device reached in products of large matrices, FLOP/s, just before.
    `spread` is the median step ÷ the fastest, of the kind where it is largest: above 1.2 something else was
    using the machine.
    """

    kinds: tuple[BenchedKind, ...]
    timing: Timing
    misfit: float
    spread: float
    peak_flops: float


def phase_kinds(model: ModelConfig, batch_tokens: int, context: int) -> list[tuple[Phase, TrainedParts]]:
    """The kinds to measure, each a phase of one step and what it trains, full depth with everything first.

    Everything trained at three depths tells a trained block from what is around it. Each partial scope with
    a quarter of the blocks new on top tells a block that runs forward only, new ones at the bottom one that
    gradients run through; what trains the embeddings lets them through wherever the new blocks are.
    """

    def phase(depth: int, train: Trainable, where: str) -> Phase:
        label = f"depth {depth} · {train}{where}"
        return Phase(
            depth=depth, tokens=batch_tokens, label=label, train=train, batch_tokens=batch_tokens, context=context
        )

    depths = sorted({model.depth, (model.depth + 1) // 2, 1}, reverse=True)
    kinds = [(phase(depth, Trainable.ALL, ""), TrainedParts.all(depth)) for depth in depths]
    for depth in depths[:2]:
        new = max(1, depth // 4)
        for train in TRAINABLE_SETS.values():
            for placement in ("top", "bottom") if not train.embeddings else ("top",):
                if train is not Trainable.ALL and new < depth:
                    new_blocks = find_new_blocks(get_placement(placement).arrange(depth - new, new))
                    trained = train.resolve(depth, new_blocks)
                    kinds.append((phase(depth, train, f" · {new} new, {placement}"), trained))
    return kinds


def bench(workload: Workload, steps: int, report: Callable[[int, int], None] = lambda done, total: None) -> Bench:
    """Train steps of every kind on random tokens; the fastest step of each kind counts.

    Whatever else a machine does only ever makes a step slower, so the fastest is what repeats best: between
    runs on a busy machine it varied half as much as the median.

    Args:
        workload: what, how and where.
        steps: steps measured per kind, over all rounds.
        report: told the FLOPs done and in all, before the first step and after every turn.
    """
    model, device, batch_tokens = workload.model, workload.device, workload.batch_tokens
    kinds = phase_kinds(model, batch_tokens, workload.context)
    ledger, rounds = Ledger(model=model), min(steps, ROUNDS)
    prices = [ledger.flops_per_token(trained, phase.context) for phase, trained in kinds]
    state = initial_state(model, model.depth, seed=0)
    peak_flops = measured_peak(device, workload.settings.precision)
    taken: list[list[float]] = [[] for _ in kinds]
    memory = [0] * len(kinds)
    done, total = 0, sum(prices) * batch_tokens * (steps + rounds * workload.warm_up_steps)
    report(done, total)
    for turn in range(rounds):
        counted = (turn + 1) * steps // rounds - turn * steps // rounds
        for number, ((phase, trained), price) in enumerate(zip(kinds, prices, strict=True)):
            segment = _segment(phase, trained, price, workload.warm_up_steps + counted)
            reset_peak_memory(device)
            engine = workload.engine(_shallow(state, phase.depth), segment)
            taken[number] += _step_seconds(engine, segment.end)[workload.warm_up_steps :]
            memory[number] = max(memory[number], peak_memory_bytes(device))
            del engine  # before the next is built, so that neither counts in the other's memory
            done += price * segment.end
            report(done, total)
    seconds = [min(each) / batch_tokens for each in taken]
    measured = [
        MeasuredPhase(phase=phase, trained=trained, seconds_per_token=per_token)
        for (phase, trained), per_token in zip(kinds, seconds, strict=True)
    ]
    timing = fit_timing(
        measured,
        device=machine_name(),
        precision=workload.settings.precision,
        model=model,
        context=workload.context,
        batch_tokens=batch_tokens,
    )
    benched = tuple(
        BenchedKind(
            label=each.phase.label,
            depth=each.phase.depth,
            scope=each.phase.train.name,
            new_blocks=each.trained.blocks,
            tokens_per_second=1 / each.seconds_per_token,
            seconds_per_token=each.seconds_per_token,
            flops_per_token=price,
            measured_to_ledger=(each.seconds_per_token / seconds[0]) / (price / prices[0]),
            mfu=price / each.seconds_per_token / peak_flops,
            peak_memory_bytes=peak,
        )
        for each, price, peak in zip(measured, prices, memory, strict=True)
    )
    spread = max(statistics.median(each) / min(each) for each in taken)
    return Bench(
        kinds=benched, timing=timing, misfit=misfit(timing, measured), spread=spread, peak_flops=peak_flops
    )


def bench_against(names: Sequence[str], workload: Workload, steps: int) -> list[Pace]:
    """Full training by deepen and by what a user would pick instead, in turns; deepen first."""
    engine, batch_tokens = workload.full_training(), workload.batch_tokens

    def ours(steps: int) -> list[float]:
        return _step_seconds(engine, engine.progress.tokens + steps * batch_tokens)

    drawn, length = workload.drawn(), workload.context + 1
    rows = torch.from_numpy(drawn[: len(drawn) // length * length].astype(np.int64)).view(-1, length)
    task = Task(
        model=workload.model,
        rows=rows[:4096],
        sequences=batch_tokens // workload.context,
        precision=workload.settings.precision,
        device=workload.device,
    )
    return race(names, ours, [rival(name, task) for name in names], batch_tokens, steps)


def faster_precision(model: ModelConfig, context: int, device: torch.device) -> tuple[str, float]:
    """The precision in which full training is faster here, and how many times as long the other takes.

    Both take a few steps of about CALIBRATION_TOKENS in turns: a second or two for small models.
    """
    if device.type == "cuda":
        return "bf16", math.inf
    batch_tokens = max(1, CALIBRATION_TOKENS // context) * context
    engines = {
        precision: Workload(
            model=model,
            context=context,
            batch_tokens=batch_tokens,
            settings=TrainSettings(precision=precision),
            device=device,
        ).full_training()
        for precision in PRECISIONS
    }
    fastest = dict.fromkeys(PRECISIONS, math.inf)
    for _ in range(CALIBRATION_STEPS):
        for precision, engine in engines.items():
            seconds = min(_step_seconds(engine, engine.progress.tokens + batch_tokens))
            fastest[precision] = min(fastest[precision], seconds)
    best = min(fastest, key=fastest.__getitem__)
    return best, max(fastest.values()) / fastest[best]


def _segment(phase: Phase, trained: TrainedParts, price: int, steps: int) -> Segment:
    """So many steps of a phase, from the beginning of a run, at a rate low enough for any model."""
    return Segment(
        depth=phase.depth,
        trains=trained,
        start=0,
        end=steps * phase.batch_tokens,
        batch_tokens=phase.batch_tokens,
        context=phase.context,
        rate=RatePiece(shape="constant", start=0, end=None, start_lr=1e-5, end_lr=1e-5),
        growth=None,
        reset_moments=False,
        flops_per_token=price,
        label=phase.label,
    )


def _shallow(state: TrainState, depth: int) -> TrainState:
    """The state's lowest `depth` blocks and what is around them."""
    weights = {
        name: weight
        for name, weight in state.weights.items()
        if not name.startswith("blocks.") or int(name.split(".")[1]) < depth
    }
    return TrainState(weights=weights, depth=depth, seed=state.seed)


def _step_seconds(engine: Engine, until: int) -> list[float]:
    """Seconds of each step up to so many tokens of the run."""
    ends = [engine.progress.seconds]

    def log(progress: Progress, measured: dict[str, float]) -> None:
        ends.append(progress.seconds)

    engine.run(until, log)
    return [after - before for before, after in pairwise(ends)]
