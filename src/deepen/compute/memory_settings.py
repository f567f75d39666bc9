"""The settings that determine a training step's memory, and the size of a micro-batch."""

from dataclasses import dataclass

from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost

MAX_LOGITS = 1 << 28
"""Most logits of a micro-batch on a CPU, if no size is given: 1 GiB in fp32."""

MAX_SEQUENCES = 64
"""Most sequences of a micro-batch on a GPU, if no size is given: with these, launches take little of a step."""

BYTES = {"fp32": 4, "bf16": 2}
"""Bytes of a number, by precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """How devices divide a batch, and perhaps the model.

    Args:
        devices: how many devices share a batch.
        sharded: weights, gradients and optimizer state are divided over the devices (FSDP2, ZeRO-3) instead of
            replicated (DDP, whose buckets hold all gradients from the first micro-batch on).
        shard_group: how many devices they are divided over, where each such group has a copy (HSDP); 0: all.
    """

    devices: int = 1
    sharded: bool = False
    shard_group: int = 0

    @property
    def shards(self) -> int:
        """Among how many devices each weight, gradient and moment is divided."""
        return (self.shard_group or self.devices) if self.sharded else 1


ONE_DEVICE = Division()


@dataclass(frozen=True, kw_only=True, slots=True)
class MemorySettings(Division):
    """What the memory of a step depends on, in addition to the model and the phase.

    Args:
        precision: "fp32", or "bf16" for autocast: fp32 weights, bf16 matrix products.
        micro_batch_tokens: tokens of a micro-batch; for 0 see `memory.choose_micro_batch`.
        devices, sharded, shard_group: as in `Division`.
        reduce_once: sharded gradients stay whole until the last micro-batch of a step, which sends them once;
            None: where `device_bytes` has room for them (`memory.complete_settings`).
        activation_checkpointing: blocks store only their input and run forward again.
        optimizer: gives the bytes of its state and of the temporaries of its step.
        gpu: whether it runs on a GPU, with more rows of logits at a time, and with an RMSNorm that stores only its
            input.
        device_bytes: memory of a GPU that training can use, which limits a micro-batch of no given size; 0 if it
            is not known.
    """

    precision: str = "fp32"
    micro_batch_tokens: int = 0
    reduce_once: bool | None = None
    activation_checkpointing: bool = False
    optimizer: OptimizerCost = ADAMW_COST
    gpu: bool = False
    device_bytes: int = 0


def micro_batch_tokens(requested: int, batch_tokens_per_device: int, context: int, vocab: int) -> int:
    """Tokens of a micro-batch: whole sequences, at least one, at most the batch.

    Args:
        requested: tokens; 0 means as many as keep the logits within `MAX_LOGITS`.
        batch_tokens_per_device, context: tokens of a device's share of the batch, and of a sequence.
        vocab: logits per token.
    """
    tokens = requested if requested else MAX_LOGITS // vocab
    return min(max(1, tokens // context) * context, batch_tokens_per_device)
