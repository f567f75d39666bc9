"""The predicted time of a training step on many GPUs; `weak_scaling.py` explains the model."""

from dataclasses import dataclass

from deepen.compute.devices import DEVICES_PER_NODE, Fleet
from deepen.compute.ledger import Ledger
from deepen.compute.memory import complete_settings, phase_memory
from deepen.compute.memory_settings import BYTES, MemorySettings
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts

NVLINK_BANDWIDTH = 370e9
"""Bytes per second and GPU that NCCL reaches over the NVLink of an H100: 450 GB/s less the protocol's 20 %.
Source: an author of NCCL, github.com/NVIDIA/nccl-tests/issues/212."""

ADAPTER_BANDWIDTH = 47e9
"""Bytes per second of an InfiniBand adapter of 400 Gb/s (NDR): 46 to 48 GB/s.
Source: an author of NCCL, github.com/NVIDIA/nccl-tests/issues/290."""

START_SECONDS, NVLINK_STEP_SECONDS, NETWORK_STEP_SECONDS = 8.4e-6, 3.4e-6, 14.0e-6
"""Latency of a ring, and of each of its steps within a node and between nodes, for large messages.
Source: `baseLat` and `hwLat` in src/graph/tuning.cc of github.com/NVIDIA/nccl, commit b6475625."""

TREE_STEP_SECONDS, TREE_BANDWIDTH = 28.0e-6, 0.92
"""Latency of a step of a tree, and its share of a ring's bandwidth. Source: the same file."""

USABLE_MEMORY = 0.9
"""Share of a GPU's memory that a step may take by the formula, which leaves out communication buffers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Devices that communicate with each other, spread evenly over `nodes` nodes."""

    devices: int
    nodes: int

    @property
    def bandwidth(self) -> float:
        """Bytes per second that pass through each device in a ring; a node's adapters work in parallel."""
        if self.nodes == 1:
            return NVLINK_BANDWIDTH
        return min(NVLINK_BANDWIDTH, ADAPTER_BANDWIDTH * self.devices / self.nodes)

    def gather_seconds(self, size: float) -> float:
        """Seconds to gather, or to reduce and scatter, `size` bytes: one round through the ring."""
        return self._ring_seconds(size, rounds=1)

    def all_reduce_seconds(self, size: float) -> float:
        """Seconds to sum `size` bytes on all devices: two rounds, or up and down a tree if that is faster."""
        if self.devices == 1:
            return 0.0
        levels = self.devices // self.nodes - 1 + (self.nodes - 1).bit_length()
        tree = 2 * (levels * TREE_STEP_SECONDS + size / (TREE_BANDWIDTH * self.bandwidth))
        return min(self._ring_seconds(size, rounds=2), tree)

    def _ring_seconds(self, size: float, rounds: int) -> float:
        if self.devices == 1:
            return 0.0
        steps, across = rounds * (self.devices - 1), rounds * (self.nodes - 1)
        latency = START_SECONDS + (steps - across) * NVLINK_STEP_SECONDS + across * NETWORK_STEP_SECONDS
        return latency + steps / self.devices * size / self.bandwidth


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """How a model is divided: over `shards`, and each shard replicated over `replicas`."""

    name: str
    shards: Group
    replicas: Group


def placements(devices: int) -> tuple[Placement, ...]:
    """The placements of a number of devices."""
    nodes = -(-devices // DEVICES_PER_NODE)
    one, everything = Group(devices=1, nodes=1), Group(devices=devices, nodes=nodes)
    in_a_node, across = Group(devices=devices // nodes, nodes=1), Group(devices=nodes, nodes=nodes)
    return (
        Placement(name="replicated", shards=one, replicas=everything),
        Placement(name="sharded", shards=everything, replicas=one),
        Placement(name="sharded in a node", shards=in_a_node, replicas=across),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a step depends on besides the model and the placement.

    Args:
        fleet: the GPU, and the share of its peak that a step reaches while it computes.
        reduce_once: whether gradients of a sharded model are reduced once in a step, or in every micro-batch;
            None: once where memory allows.
    """

    fleet: Fleet
    reduce_once: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """A step, on each device.

    Attributes:
        micro_batch_tokens: tokens of a micro-batch.
        activation_checkpointing: whether blocks run forward twice.
        needed_seconds: seconds of its FLOPs, without those that checkpointing repeats.
        compute_seconds: the same with them.
        seconds: what it takes with communication.
        peak_bytes: memory at its peak.
    """

    micro_batch_tokens: int
    activation_checkpointing: bool
    needed_seconds: float
    compute_seconds: float
    seconds: float
    peak_bytes: int

    @property
    def efficiency(self) -> float:
        """The share of the step that is neither waiting for communication nor repeated."""
        return self.needed_seconds / self.seconds


def step_time(
    model: ModelConfig,
    depth: int,
    placement: Placement,
    tokens: int,
    settings: Settings,
    micro_batch: int,
    checkpointing: bool,
) -> StepTime:
    """The predicted time of a step that trains all of a model's lowest `depth` blocks.

    Args:
        model: the model at its final depth.
        depth: its blocks at the time of the step, at least 1.
        placement: how the devices hold it.
        tokens: tokens of a step on each device.
        settings: the GPU, and what is communicated.
        micro_batch: tokens of a micro-batch on each device; divides `tokens`.
        checkpointing: whether blocks run forward twice.
    """
    trained, rate = TrainedParts.all(depth), settings.fleet.device.peak_flops * settings.fleet.mfu
    ledger = Ledger(model=model, activation_checkpointing=checkpointing)
    _, _, linears, attention, head = ledger.grouped_parts(trained, model.context)
    blocks_forward = linears.forward + attention.forward
    forward = micro_batch * blocks_forward / depth / rate
    backward = micro_batch * (linears.total + attention.total - blocks_forward) / depth / rate
    around = micro_batch * head.total / rate  # head and loss are one function, forward and backward

    memory, peak = step_memory(model, depth, placement, tokens, settings, micro_batch, checkpointing)
    shards, replicas, fp32, bf16 = placement.shards, placement.replicas, BYTES["fp32"], BYTES["bf16"]
    block, rest = model.linear_parameters, model.parameters_at(0) + depth * model.block_norm_parameters
    gather, gather_around = shards.gather_seconds(bf16 * block), shards.gather_seconds(fp32 * rest)
    scatter, scatter_around = (shards.gather_seconds(fp32 * size) for size in (block, rest))
    total, total_around = (replicas.all_reduce_seconds(fp32 * size / shards.devices) for size in (block, rest))

    def seconds(last: bool) -> float:
        scatters = last or not memory.reduce_once
        totals = last or (not memory.reduce_once and shards.devices > 1)
        taken = gather_around + gather + (depth - 1) * max(forward, gather) + forward + around + gather
        for layer in reversed(range(depth)):  # gathers the block below, reduces the one above
            is_top, is_bottom = layer == depth - 1, layer == 0
            in_shards = (0.0 if is_bottom else gather) + (scatter if scatters and not is_top else 0.0)
            taken += max(backward, in_shards, total if totals and not is_top else 0.0)
        exposed = (scatter + scatter_around if scatters else 0.0) + (total + total_around if totals else 0.0)
        return taken + exposed

    micro_batches = tokens // micro_batch
    return StepTime(
        micro_batch_tokens=micro_batch,
        activation_checkpointing=checkpointing,
        needed_seconds=tokens * Ledger(model=model).flops_per_token(trained, model.context) / rate,
        compute_seconds=micro_batches * (depth * (forward + backward) + around),
        seconds=(micro_batches - 1) * seconds(last=False) + seconds(last=True),
        peak_bytes=peak,
    )


def step_memory(
    model: ModelConfig,
    depth: int,
    placement: Placement,
    tokens: int,
    settings: Settings,
    micro_batch: int,
    checkpointing: bool,
) -> tuple[MemorySettings, int]:
    """When gradients are reduced, among other settings, and the memory formula's peak on each device.

    Arguments as in `step_time`.
    """
    shards = placement.shards.devices
    devices = shards * placement.replicas.devices
    phase = Phase(
        depth=depth,
        tokens=devices * tokens,
        label=f"depth {depth}",
        batch_tokens=devices * tokens,
        context=model.context,
    )
    memory = MemorySettings(
        precision="bf16",
        micro_batch_tokens=micro_batch,
        devices=devices,
        sharded=shards > 1,
        shard_group=shards,
        reduce_once=settings.reduce_once,
        activation_checkpointing=checkpointing,
        gpu=True,
        device_bytes=settings.fleet.device.memory_bytes,
    )
    memory = complete_settings(model, phase, TrainedParts.all(depth), memory)
    return memory, phase_memory(model, phase, TrainedParts.all(depth), memory).peak


def fastest_step(
    model: ModelConfig, depth: int, placement: Placement, tokens: int, settings: Settings
) -> StepTime | None:
    """The fastest step that fits into memory, over micro-batches and checkpointing; None if none fits."""
    memory, sequences = settings.fleet.device.memory_bytes, tokens // model.context
    sizes = [1 << power for power in range(sequences.bit_length()) if sequences % (1 << power) == 0]
    steps = (
        step_time(model, depth, placement, tokens, settings, size * model.context, checkpointing)
        for size in sizes
        for checkpointing in (False, True)
    )
    fitting = [step for step in steps if step.peak_bytes <= USABLE_MEMORY * memory]
    return min(fitting, key=lambda step: step.seconds, default=None)


def fastest_placement(
    model: ModelConfig, depth: int, devices: int, tokens: int, settings: Settings
) -> tuple[str, StepTime] | None:
    """The placement with the fastest step, and that step; None if none fits."""
    steps = ((each.name, fastest_step(model, depth, each, tokens, settings)) for each in placements(devices))
    fitting = [(name, step) for name, step in steps if step]
    return min(fitting, key=lambda found: found[1].seconds, default=None)


def fewest_devices(model: ModelConfig, depth: int, settings: Settings) -> int:
    """The smallest number of whole nodes' devices on which a step with one sequence on each fits."""
    return next(
        devices
        for devices in range(DEVICES_PER_NODE, 1 << 20, DEVICES_PER_NODE)
        if fastest_placement(model, depth, devices, model.context, settings)
    )
