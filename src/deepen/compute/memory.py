"""Peak device memory of a phase, in bytes and in closed form: what a step of deepen's engine allocates.

Weights, and the optimizer state of trained weights, exist all the time in fp32; so do gradients from the second
micro-batch on. Everything else is allocated and freed within a micro-batch:

- The forward pass runs from the bottom up. A block that gradients enter stores what its backward pass reads; a
  block below the cut stores nothing. Head and loss then compute the gradients of the residual stream and of the
  head, with a few rows of logits in memory at a time.
- The backward pass runs from the top down. Each block frees its activations and leaves its gradients.

With bf16 autocast, matrix products read and store bf16 copies of weights and activations; norms, residual stream
and loss stay in fp32. With activation checkpointing, blocks store only their input, except for the one block whose
backward pass is running.

The peak is the largest of a few moments, each computed by its own function below. For a GPT-2 with 3 blocks, width
64, 4 heads and a vocabulary of 512, trained whole in fp32 on one micro-batch of 16 × 64 tokens, `timeline` gives,
in kB:

    moment                        gradients  activations  logits  working
    head and loss                       131        12960    2097      786
    backward of block 2                 197        12698       0     1311
    backward of block 1                 397         8471       0     1311
    backward of block 0                 597         4243       0     1311
    backward of the embeddings          879           16       0      262

so with 748 of weights and 1496 of optimizer state the peak is at head and loss, 18.2 MB.

The model describes torch's eager mode on a CPU; tests compare it with the allocator. A GPU differs in RMSNorm and
in the rows of logits (`gpu`). Not counted are buffers inside kernels (some 100 kB on a CPU) and, on a GPU, the
CUDA context, cuBLAS's workspace, and what the allocator rounds up or cannot reuse. In fp32 with grouped queries a
GPU has no flash attention and stores all context² scores; these are not counted either.

Where layers share blocks (`Phase.layers`), weights, optimizer state and gradients count stored blocks, activations
executed layers. The gradients of a block are summed, in the precision of matrix products, until the lowest of its
layers has run backward. Of the lowest layer, if it is frozen but for norms that come after attention and MLP,
attention is counted although it stores nothing.

With sharding (FSDP2), weights, gradients and optimizer state are divided by the number of devices. Embeddings,
final norm and head are gathered in fp32 all the time, blocks two at a time (the current one and the next). With
autocast a block's matrices are gathered in bf16, as the copies that products read, and its norms with what is
around the blocks. The gradients of one block are whole, in the precision of products, until they are scattered;
the gradients of head and embeddings are whole to the end. With `reduce_once` all are whole, in fp32, between two
micro-batches, as only the last one scatters them. Communication buffers are not counted. They differ from run to
run; where weights take most of the memory, the peak was up to 24 % higher (docs/log.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deepen.compute.memory_moments import list_moments
from deepen.compute.memory_settings import MAX_SEQUENCES, MemorySettings, micro_batch_tokens
from deepen.compute.memory_step import Moment, Step
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts

MAX_SHARE_REDUCED_ONCE = 0.75
"""Share of a device's memory that a step may take with whole gradients; communication buffers are not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseMemory:
    """Bytes on each device at the moment of the peak; their sum is the peak.

    `weights` includes bf16 copies and gathered weights; `gradients` are those of weights, including the one just
    computed; `moments` are the optimizer's state; `activations` are what the backward pass will read; `logits`
    includes their copies and gradients; `working` is what else the current operation needs. `moment` is the name
    of the moment.
    """

    weights: int
    gradients: int
    moments: int
    activations: int
    logits: int
    working: int
    moment: str

    @property
    def peak(self) -> int:
        """Total bytes."""
        return self.weights + self.gradients + self.moments + self.activations + self.logits + self.working


def phase_memory(model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> PhaseMemory:
    """Memory at the peak of a phase's second and later steps; the first has no optimizer state yet.

    Args:
        model: the model; the phase determines how many of its blocks exist.
        phase: the phase, with batch and context filled in.
        trained: the parts that it trains.
        settings: precision, micro-batches, devices and so on.
    """
    return _memory_at_peak(model, phase, trained, complete_settings(model, phase, trained, settings))


def complete_settings(
    model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings
) -> MemorySettings:
    """The settings of a phase with what they leave open: its micro-batch, and when gradients are sent.

    Arguments as in `phase_memory`.
    """
    settings = replace(settings, micro_batch_tokens=choose_micro_batch(model, phase, trained, settings))
    if settings.reduce_once is None:
        settings = replace(settings, reduce_once=_can_reduce_once(model, phase, trained, settings))
    return settings


def choose_micro_batch(model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> int:
    """Tokens of a micro-batch on each device: those that the settings give, or else a number that depends on it.

    On a GPU, where many small kernels take longer than few large ones, these are the most sequences, up to
    `MAX_SEQUENCES`, that divide the device's share of the batch and with which the phase takes at most half of the
    memory; at least one. As they divide it, all micro-batches have one shape. On a CPU, and on a GPU whose memory
    is not known, they are as many as keep the logits within `MAX_LOGITS`.

    Arguments as in `phase_memory`.
    """
    context, sequences = phase.context, -(-phase.batch_tokens // (phase.context * settings.devices))
    if settings.micro_batch_tokens or not (settings.gpu and settings.device_bytes):
        return micro_batch_tokens(settings.micro_batch_tokens, sequences * context, context, model.vocab)

    def fits(size: int) -> bool:
        with_size = replace(settings, micro_batch_tokens=size * context)
        return 2 * _memory_at_peak(model, phase, trained, with_size).peak <= settings.device_bytes

    sizes = (size for size in range(min(MAX_SEQUENCES, sequences), 1, -1) if sequences % size == 0)
    return next(filter(fits, sizes), 1) * context


def must_checkpoint(
    kinds: Iterable[tuple[Phase, TrainedParts]], model: ModelConfig, settings: MemorySettings
) -> bool:
    """Whether phases fit into the device's memory with activation checkpointing only.

    Args:
        kinds: each phase, and the parts that it trains.
        model, settings: as in `phase_memory`; `device_bytes` is the memory.
    """

    def fit(settings: MemorySettings) -> bool:
        return all(
            phase_memory(model, phase, trained, settings).peak <= settings.device_bytes for phase, trained in kinds
        )

    kinds = tuple(kinds)
    if settings.activation_checkpointing or not settings.device_bytes or fit(settings):
        return False
    return fit(replace(settings, activation_checkpointing=True))


def _can_reduce_once(model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> bool:
    """Whether sharded devices have memory for whole gradients, so that they send them once in a step.

    It makes no difference where a step is one micro-batch, whose size is given.
    """
    if not settings.sharded or settings.micro_batch_tokens * settings.devices >= phase.batch_tokens:
        return False
    peak = _memory_at_peak(model, phase, trained, replace(settings, reduce_once=True)).peak
    return peak <= MAX_SHARE_REDUCED_ONCE * settings.device_bytes


def _memory_at_peak(
    model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings
) -> PhaseMemory:
    """As `phase_memory`, of a micro-batch of a given size."""
    step = Step(model, phase, trained, settings)
    peak = max(list_moments(step), key=lambda moment: moment.total)
    return PhaseMemory(
        weights=step.weights + peak.weight_copies,
        gradients=peak.gradients,
        moments=step.ledger.optimizer_state_bytes(trained) // step.shards,
        activations=peak.activations,
        logits=peak.logits,
        working=peak.working,
        moment=peak.name,
    )


def timeline(model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> list[Moment]:
    """The moments of a step that can be its peak, in order. Arguments as in `phase_memory`."""
    return list(list_moments(Step(model, phase, trained, complete_settings(model, phase, trained, settings))))
