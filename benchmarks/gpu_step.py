"""One property of a training step on this device, in a line or a table; `first_gpu_hour.sh` runs all of them.

    python benchmarks/gpu_step.py time --model gpt2-124m --vocab 50304 --compile yes --sequences 32

    time         tokens per second, MFU, and peak memory beside the memory formula
    profile      the largest kernels, every wait and copy, and a trace for chrome://tracing
    nonfinite    whether a step made infinite on purpose is named and changes no weight
    evaluate     seconds of a forward pass over 65,536 tokens, and its share of a training step's time for them
    agree        how far losses on this device are from those on the CPU, in the same precision

Times are those of whole runs between two synchronizations, so they hold whatever an engine reports of its steps.
Without a GPU everything runs on the CPU.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from deepen.bench.stopwatch import Stopwatch
from deepen.bench.workload import Workload
from deepen.compute.memory import phase_memory
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.train.device import measure_peak_flops, peak_memory_bytes, pick_device, reset_peak_memory
from deepen.train.engine import Engine
from deepen.train.errors import TrainingError
from deepen.train.fit import memory_settings
from deepen.train.settings import COMPILE, PRECISIONS, TrainSettings

WARM_UP_STEPS, TURNS, TURN_STEPS = 3, 3, 4
EVALUATED_TOKENS = 65_536
WAITS = ("Memcpy", "Synchronize", "aten::item", "aten::_local_scalar_dense")
"""Parts of the names of operations that copy between devices, or wait for the GPU."""


def step_seconds(engine: Engine, workload: Workload, steps: int) -> float:
    """The mean seconds of a number of steps, from an idle device to an idle device."""
    until = engine.progress.tokens + steps * workload.batch_tokens
    return Stopwatch.for_device(workload.device).step_seconds(engine, until)


def time_steps(workload: Workload) -> None:
    reset_peak_memory(workload.device)
    engine, batch = workload.full_training(), workload.batch_tokens
    step_seconds(engine, workload, WARM_UP_STEPS)
    seconds = min(step_seconds(engine, workload, TURN_STEPS) for _ in range(TURNS))
    memory = peak_memory_bytes(workload.device)
    kind, precision = workload.kinds()[0], workload.settings.precision
    is_checkpointed = engine.model.activation_checkpointing
    settings = replace(
        memory_settings(workload.settings),
        micro_batch_tokens=engine.micro_batch_tokens,
        activation_checkpointing=is_checkpointed,
        gpu=workload.device.type == "cuda",
    )
    formula = phase_memory(workload.model, kind.phase, kind.trained, settings)
    rate = workload.flops_per_step(kind) / seconds
    peak = measure_peak_flops(workload.device, precision)
    sequences = engine.micro_batch_tokens // workload.context
    how = ", activation checkpointing" if is_checkpointed else ""
    print(
        f"{sequences} sequences{how}: {batch / seconds:,.0f} tokens/s, "
        f"MFU {rate / peak:.1%} of the measured {peak / 1e12:,.3g} TFLOP/s, "
        f"peak {memory / 1e9:.2f} GB, by the formula {formula.peak / 1e9:.2f} GB"
    )


def profile_step(workload: Workload, trace: Path) -> None:
    from torch.profiler import ProfilerActivity, profile

    on_gpu = workload.device.type == "cuda"
    engine = workload.full_training()
    step_seconds(engine, workload, WARM_UP_STEPS)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        step_seconds(engine, workload, 2)
    events = profiled.key_averages()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    print(events.table(sort_by=order, row_limit=30, max_name_column_width=70))
    profiled.export_chrome_trace(str(trace))
    waits = [f"{event.key} × {event.count}" for event in events if any(name in event.key for name in WAITS)]
    print(f"waits and copies in 2 steps: {', '.join(waits) if waits else 'none'}; trace in {trace}")


def make_nonfinite(workload: Workload) -> None:
    engine = workload.full_training()
    step_seconds(engine, workload, 1)
    before = {name: weight.detach().clone() for name, weight in engine.model.named_parameters()}
    infinite_once(engine)
    try:
        step_seconds(engine, workload, 3)
        said = "NOT named: the run continued"
    except TrainingError as error:
        said = f"named: {error}"
    moved = [name for name, weight in engine.model.named_parameters() if not torch.equal(weight, before[name])]
    print(f"{said[:120]}; weights that moved: {', '.join(moved) if moved else 'none'}")


def infinite_once(engine: Engine) -> None:
    """Make the loss of the next step infinite, on the device."""
    compute: Callable[..., torch.Tensor] = engine._forward_backward
    scales = iter([float("inf")])

    def forward_backward(*batch: torch.Tensor) -> torch.Tensor:
        return compute(*batch) * next(scales, 1.0)

    engine._forward_backward = forward_backward  # type: ignore[method-assign]


def evaluate(workload: Workload) -> None:
    engine, device, context = workload.full_training(), workload.device, workload.context
    step = min(step_seconds(engine, workload, 1) for _ in range(WARM_UP_STEPS))
    rows = max(1, min(EVALUATED_TOKENS, workload.batch_tokens) // context)
    tokens = torch.zeros(rows, context, dtype=torch.int64, device=device)
    watch, seconds = Stopwatch.for_device(device), []
    for _ in range(WARM_UP_STEPS):
        began = watch.read()
        engine.token_scores(tokens, tokens)
        seconds.append(watch.read() - began)
    share = min(seconds) / (step * rows * context / workload.batch_tokens)
    print(f"{rows * context:,} tokens forward: {1e3 * min(seconds):.1f} ms, {share:.2f} of a step's time for them")


def agree(workload: Workload) -> None:
    losses = {}
    for device in (torch.device("cpu"), workload.device):
        losses[device.type] = found = []
        engine = replace(workload, device=device).full_training()
        engine.run(5 * workload.batch_tokens, lambda progress, measured, to=found: to.append(measured["loss"]))
    here = losses[workload.device.type]
    most = max(abs(one - other) for one, other in zip(losses["cpu"], here, strict=True))
    where = f"{workload.device.type} and cpu"
    print(f"losses of 5 steps on {where} differ by {most:.1e} at most; the last is {here[-1]:.5f}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "profile", "nonfinite", "evaluate", "agree"))
    parser.add_argument("--model", choices=sorted(PRESETS), default="gpt2-124m")
    parser.add_argument("--vocab", type=int, default=0, help="0 for the model's")
    parser.add_argument("--batch-tokens", type=int, default=0, help="of a step; 0 for the model's")
    parser.add_argument("--sequences", type=int, default=0, help="of a micro-batch; 0 for deepen's choice")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--compile", choices=COMPILE, default="auto")
    parser.add_argument("--trace", type=Path, default=Path("trace.json"), help="of profile")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    preset = PRESETS[args.model]
    model = replace(preset, vocab=args.vocab if args.vocab else preset.vocab)
    workload = Workload(
        model=model,
        context=model.context,
        batch_tokens=args.batch_tokens if args.batch_tokens else tokens_per_step(model, model.context),
        device=pick_device(),
        settings=TrainSettings(
            precision=args.precision, compile=args.compile, micro_batch_tokens=args.sequences * model.context
        ),
    )
    if args.what == "profile":
        profile_step(workload, args.trace)
    else:
        {"time": time_steps, "nonfinite": make_nonfinite, "evaluate": evaluate, "agree": agree}[args.what](
            workload
        )


if __name__ == "__main__":
    main()
