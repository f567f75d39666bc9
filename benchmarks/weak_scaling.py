"""A prediction of how the time of a training step grows with the number of GPUs, and of what one growth changes.

    python benchmarks/weak_scaling.py

Nothing is trained or measured. FLOPs come from the ledger, and memory from the memory formula. A collective takes
what NCCL's own cost model gives it (`ncclTopoTuneModel`). GPUs are in nodes of eight, joined by NVLink, with one
InfiniBand adapter each.

Three placements are one scheme. A model is sharded over a group of devices, and each shard is replicated over
another group:

    placement          shards                replicas
    replicated         1                     all devices
    sharded            all devices           1
    sharded in a node  the devices of one    the nodes

A step follows FSDP2. Each block is gathered before it runs, forward and once more backward, while another block
computes, and its gradients are reduced while the next block computes; the part around the blocks is gathered once.
Blocks travel in bf16, the part around them and all gradients in fp32. What is not hidden behind computation makes
the step longer. Gradients are summed once in a step where each GPU holds the whole model, or has memory for all of
them, else in every micro-batch. The efficiency of a step is the share of it that one GPU with unlimited memory
would take for its tokens.
"""

import argparse
import math
from collections.abc import Iterator

from deepen.compute.devices import DEVICES, DEVICES_PER_NODE, Fleet, assumed_mfu
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS, tokens_per_step
from weak_scaling_step import (
    Settings,
    fastest_placement,
    fastest_step,
    fewest_devices,
    placements,
    step_memory,
)


def scaling_rows(
    model: ModelConfig, depth: int, counts: list[int], tokens: int, batch: int, settings: Settings
) -> Iterator[list[str]]:
    """For each number of devices, each placement's step: efficiency, micro-batch, recomputation.

    With `batch` > 0 all devices share a batch of that many tokens; else each has `tokens` tokens.
    """
    for devices in counts:
        row = [f"{devices:,}"]
        for placement in placements(devices):
            step = fastest_step(model, depth, placement, batch // devices if batch else tokens, settings)
            if step is None:
                _, least = step_memory(model, depth, placement, model.context, settings, model.context, True)
                row.append(f"needs {least / 1e9:,.0f} GB")
                continue
            sequences = step.micro_batch_tokens // model.context
            again = ", recomputed" if step.activation_checkpointing else ""
            row.append(f"{step.efficiency:.0%} ({sequences}{again})")
        yield row


def growth_rows(
    model: ModelConfig, start_depth: int, counts: list[int], batch: int, settings: Settings, tokens: int
) -> Iterator[list[str]]:
    """GPU hours and hours of `tokens` tokens at full depth, and with a growth from `start_depth` half way.

    The shallow model is trained on as many GPUs, on as many as make its step as long as the deep one's, and on all
    of them with a batch that does so.
    """
    ratio = model.depth // start_depth
    for devices in counts:
        deep = _part(model, model.depth, devices, batch, settings, tokens)
        yield ["full depth", f"{devices:,}", *_describe(deep)]
        deep_half = _part(model, model.depth, devices, batch, settings, tokens / 2)
        for first, first_batch in ((devices, batch), (devices // ratio, batch), (devices, ratio * batch)):
            if first >= DEVICES_PER_NODE:
                shallow = _part(model, start_depth, first, first_batch, settings, tokens / 2)
                where = f"{devices:,}" if first == devices else f"{first:,}, then {devices:,}"
                larger = f", batch × {ratio}" if first_batch > batch else ""
                yield [f"{start_depth} blocks first{larger}", where, *_describe(shallow, deep_half)]


def _part(
    model: ModelConfig, depth: int, devices: int, batch: int, settings: Settings, tokens: float
) -> tuple[float, float, str]:
    """GPU hours and hours of a number of tokens, and how they are trained."""
    found = fastest_placement(model, depth, devices, batch // devices, settings)
    if found is None:
        return math.inf, math.inf, "does not fit"
    name, step = found
    hours = tokens / batch * step.seconds / 3600
    return devices * hours, hours, f"{name}, {step.efficiency:.0%}"


def _describe(*parts: tuple[float, float, str]) -> list[str]:
    gpu_hours, hours, how = zip(*parts, strict=True)
    return [f"{sum(gpu_hours):,.0f}", f"{sum(hours):,.1f}", "; then ".join(how)]


def print_table(header: list[str], rows: Iterator[list[str]]) -> None:
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |")
    print()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["llama-7b", "llama-70b"], choices=sorted(PRESETS))
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 32, 128, 512, 1024])
    parser.add_argument("--growth-devices", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--device", choices=DEVICES, default="h100")
    parser.add_argument("--mfu", type=float, default=0.0, help="share of the peak; 0 for what a plan assumes")
    parser.add_argument("--sequences", type=int, default=1, help="of a step on each GPU, where it is constant")
    parser.add_argument("--reduce-gradients", choices=("once", "each"), help="as in deepen train, by default too")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    for name in args.models:
        model, device = PRESETS[name], DEVICES[args.device]
        fleet = Fleet(device=device, mfu=args.mfu if args.mfu else assumed_mfu(model.width))
        once = None if args.reduce_gradients is None else args.reduce_gradients == "once"
        settings = Settings(fleet=fleet, reduce_once=once)
        batch, tokens = tokens_per_step(model, model.context), args.sequences * model.context
        names = [each.name for each in placements(DEVICES_PER_NODE)]
        print(f"{name}, {device.name}, {fleet.mfu:.0%} of its peak while it computes\n")
        for title, shared in (
            (f"{tokens:,} tokens on each GPU", 0),
            (f"{batch:,} tokens in all", batch),
        ):
            print(f"{title}: efficiency (sequences in a micro-batch)\n")
            counts = [count for count in args.devices if not shared or batch // count >= model.context]
            print_table(["GPUs", *names], scaling_rows(model, model.depth, counts, tokens, shared, settings))
        budget, start = 20 * model.parameters_non_embedding, model.depth // 4
        print(f"One growth from {start} to {model.depth} blocks after half of {budget / 1e9:,.0f}B tokens\n")
        header = ["trained", "GPUs", "GPU hours", "hours", "placement, efficiency"]
        print_table(header, growth_rows(model, start, args.growth_devices, batch, settings, budget))
        for depth in (start, model.depth):
            print(f"{depth} blocks need {fewest_devices(model, depth, settings)} GPUs or more")
        print()


if __name__ == "__main__":
    main()
