"""The bench: time steps of every kind of phase with the engine, and fit the ingredients of a step to them.

    result = run_bench(Workload(model=…, context=…, batch_tokens=…, settings=…, device=…), steps=10)
    result.fit.timing.seconds_per_token(trained)         # of any phase, for a plan in seconds

Kinds are measured in turns, so that a machine that slows down slows all of them alike. The fastest turn of each
kind counts, because other work on a machine can only make steps slower. Between runs on a busy machine the fastest
step varied half as much as the median. With ten steps or fewer a turn is one step.
"""

import gc
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from deepen.bench.attempts import Attempts, explain_step_error
from deepen.bench.other_steps import build_trainer
from deepen.bench.pace import TakeSteps, divide_steps, measure_paces
from deepen.bench.result import BenchResult, Fit, KindResult, Race
from deepen.bench.workload import PhaseKind, Workload, lowest_blocks
from deepen.compute.ledger import Ledger
from deepen.compute.timing import MeasuredPhase, fit_timing, misfit
from deepen.errors import RunError
from deepen.train.device import machine_name, measure_peak_flops, peak_memory_bytes, reset_peak_memory
from deepen.train.state import TrainState, initial_state

MAX_TURNS = 10
"""The most turns that the steps of each kind are divided into."""


def run_bench(
    workload: Workload,
    steps: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BenchResult:
    """Measure every kind of phase.

    Args:
        workload: model, batch, settings and device.
        steps: number of measured steps per kind.
        on_progress: called with the FLOPs done and in total, before the first step and after every turn of a kind.

    A kind that the device cannot train, for want of memory for instance, is left out and named.

    Raises:
        RunError: steps were faster than the device can compute, so the measurement is wrong.
        Exception: what the first kind failed with, if no kind could be trained.
    """
    peak_flops = measure_peak_flops(workload.device, workload.settings.precision)
    attempts = Attempts(explain_step_error)
    runs = _measure_kinds(workload, steps, attempts, on_progress)
    if not runs:
        assert attempts.first_error is not None
        raise attempts.first_error
    peak_flops = _check_rates(workload, runs, peak_flops)
    measured = [
        MeasuredPhase(
            phase=run.kind.phase,
            trained=run.kind.trained,
            seconds_per_token=min(run.seconds) / workload.batch_tokens,
        )
        for run in runs
    ]
    full_seconds, full_flops = measured[0].seconds_per_token, runs[0].flops_per_token
    kinds = [
        KindResult(
            phase=each.phase,
            new_blocks=each.trained.blocks,
            seconds_per_token=each.seconds_per_token,
            flops_per_token=run.flops_per_token,
            computed_flops_per_token=workload.computed_flops_per_step(run.kind) / workload.batch_tokens,
            measured_to_ledger=(each.seconds_per_token / full_seconds) / (run.flops_per_token / full_flops),
            mfu=run.flops_per_token / each.seconds_per_token / peak_flops,
            peak_memory_bytes=run.peak_memory_bytes,
            micro_batch_tokens=run.micro_batch_tokens,
        )
        for each, run in zip(measured, runs, strict=True)
    ]
    device = machine_name()
    return BenchResult(
        workload=workload,
        device=device,
        kinds=kinds,
        failures=attempts.failures,
        fit=None if attempts.failures else _fit(workload, device, measured),
        jitter=max(statistics.median(run.seconds) / min(run.seconds) for run in runs),
        peak_flops=peak_flops,
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
    )


def _fit(workload: Workload, device: str, measured: Sequence[MeasuredPhase]) -> Fit:
    """The ingredients of a step, which can only be told apart where every kind was measured."""
    timing = fit_timing(
        measured,
        device=device,
        precision=workload.settings.precision,
        model=workload.model,
        context=workload.context,
        batch_tokens=workload.batch_tokens,
        optimizer=workload.settings.optimizer.kind,
    )
    return Fit(timing=timing, misfit=misfit(timing, measured))


def race(workload: Workload, steps: int, against: Iterable[str]) -> Race:
    """Compare full training with other trainers, in turns.

    Args:
        workload: model, batch, settings and device.
        steps: number of measured steps per trainer.
        against: names of other trainers (`other_trainers.OTHER_TRAINERS`).
    """
    workload = workload.with_micro_batch()
    builders = {"deepen": partial(_build_deepen, workload)}
    builders |= {name: partial(build_trainer, name, workload) for name in against}
    return measure_paces(builders, workload.batch_tokens, steps, workload.warm_up_steps)


@dataclass(kw_only=True, slots=True)
class _KindRun:
    """A kind while it is measured: seconds of a step in each turn, peak memory so far, and micro-batch."""

    kind: PhaseKind
    flops_per_step: int
    seconds: list[float] = field(default_factory=list)
    peak_memory_bytes: int = 0
    micro_batch_tokens: int = 0

    @property
    def flops_per_token(self) -> float:
        """The price of a step ÷ its tokens."""
        return self.flops_per_step / self.kind.phase.batch_tokens


def _measure_kinds(
    workload: Workload, steps: int, attempts: Attempts, on_progress: Callable[[int, int], None]
) -> list[_KindRun]:
    """Time steps of all kinds, in turns; a kind that fails takes no further turn. Returns those that did not."""
    runs = [_KindRun(kind=kind, flops_per_step=workload.flops_per_step(kind)) for kind in workload.kinds()]
    state, turns = initial_state(workload.model, workload.model.depth, seed=0), min(steps, MAX_TURNS)
    total_steps = steps + turns * workload.warm_up_steps
    done, total = 0, sum(run.flops_per_step for run in runs) * total_steps
    on_progress(done, total)
    for counted in divide_steps(steps, turns):
        for run in runs:
            if run.kind.phase.label not in attempts.failures:
                with attempts.attempt(run.kind.phase.label):
                    _take_turn(workload, run, state, counted)
            done += (workload.warm_up_steps + counted) * run.flops_per_step
            on_progress(done, total)
    return [run for run in runs if run.kind.phase.label not in attempts.failures]


def _take_turn(workload: Workload, run: _KindRun, state: TrainState, steps: int) -> None:
    """Time a number of steps of a kind, after some that are not timed."""
    warm_up, stopwatch = workload.warm_up_steps, workload.stopwatch
    segment = workload.segment(run.kind, warm_up + steps)
    reset_peak_memory(workload.device)
    engine = workload.engine(lowest_blocks(state, workload.model, segment.depth), segment)
    run.micro_batch_tokens = engine.micro_batch_tokens
    stopwatch.step_seconds(engine, warm_up * workload.batch_tokens)
    run.seconds.append(stopwatch.step_seconds(engine, segment.end))
    run.peak_memory_bytes = max(run.peak_memory_bytes, peak_memory_bytes(workload.device))
    del engine  # before the next one is built, so that it does not count in its memory
    gc.collect()  # compiled blocks are in reference cycles


def _check_rates(workload: Workload, runs: Sequence[_KindRun], peak_flops: float) -> float:
    """Raise a RunError if a kind was computed faster than the device can; returns the device's measured peak.

    Attention counts causally here, which is the least that a kernel may compute.
    """
    ledger = Ledger(model=workload.model, causal_exact=True)

    def rate(run: _KindRun) -> float:
        phase = run.kind.phase
        return ledger.flops_per_step(run.kind.trained, phase.batch_tokens, phase.context) / min(run.seconds)

    fastest = max(runs, key=rate)
    if rate(fastest) > peak_flops:  # unless other work slowed the first measurement of the peak
        peak_flops = max(peak_flops, measure_peak_flops(workload.device, workload.settings.precision))
    if rate(fastest) > peak_flops:
        raise RunError(
            f"{fastest.kind.phase.label} took {min(fastest.seconds):.2g} s a step, which is "
            f"{rate(fastest) / 1e9:,.0f} GFLOP/s where products of large matrices reach {peak_flops / 1e9:,.0f}: "
            "a device is not faster than its peak, so this is no measurement",
            remedy="measure again with more `steps`; if it stays, the clock or the device is at fault",
        )
    return peak_flops


def _build_deepen(workload: Workload) -> TakeSteps:
    engine, stopwatch = workload.full_training(), workload.stopwatch

    def take_steps(warm_up: int, count: int) -> float:
        counted_from = engine.progress.tokens + warm_up * workload.batch_tokens
        if warm_up:
            stopwatch.step_seconds(engine, counted_from)
        return stopwatch.step_seconds(engine, counted_from + count * workload.batch_tokens)

    return take_steps
