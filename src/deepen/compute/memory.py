"""Peak device memory of a phase, in bytes, in closed form: what a training step of deepen's engine allocates.

Weights and AdamW's two moments of each trained weight are there all the time, in fp32; so are, from the second
micro-batch on, gradients. The rest comes and goes. Going up, a block that gradients enter stores what its
backward pass reads; a block below the cut stores nothing. On top, head and loss leave the gradients of the stream
and of the head at once; of the logits only a few rows exist at a time. Going down, each block takes its
activations away and leaves its gradients. With bf16 autocast, matrix products read and store bf16 copies of
weights and activations; norms, residual stream and loss stay fp32. With activation checkpointing a block stores
its input, and the rest exists for one block at a time.

The counts are those of torch's eager mode on a CPU, and tests hold them against its allocator; a GPU stores the
same, but for RMSNorm and more rows of logits (`gpu`). Not counted are what kernels use inside (some 100 kB on a
CPU) and, on a GPU, its context, cuBLAS's workspace, and what the allocator rounds up or cannot reuse. In fp32 with
grouped queries a GPU has no flash attention and stores all context² scores, not counted either.

Sharded (FSDP2), weights, gradients and moments are divided by the devices. Gathered in fp32 are embeddings, final
norm and head all the time, and blocks two at a time (the current and the next). Autocast's copies come on top, and
stay for the backward pass unless blocks run twice. Whole, in fp32, are the gradients of one block before they are
scattered, and those of head and embeddings to the end. What the exchange needs for itself is not counted, and
differs from run to run: where weights are most of it the peak was up to 24 % higher (docs/log.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from deepen.compute.ledger import Ledger, Role, role_counts
from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.model.chunks import chunk_rows
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts

LOGITS_IN_MEMORY = 1 << 28
"""Logits held at once where no micro-batch is asked for: 1 GiB in fp32."""

FP32, INT64 = 4, 8
"""Bytes of a number wherever precision has no say, and of a token."""

BYTES = {"fp32": 4, "bf16": 2}
"""Bytes of a number, by precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemorySettings:
    """What a step's memory depends on beside the model and the phase.

    Args:
        precision: "fp32", or "bf16" for autocast: fp32 weights, bf16 matrix products.
        micro_batch_tokens: tokens of a micro-batch; 0 means as many as keep the logits under 1 GiB.
        devices: how many share a batch.
        sharded: weights, gradients and moments are divided over the devices (FSDP2, ZeRO-3) instead of
            replicated (DDP, whose buckets hold all gradients from the first micro-batch on).
        activation_checkpointing: blocks store their input alone and run forward again.
        optimizer: bytes of its state, and of what a step needs besides.
        gpu: more rows of logits at once; RMSNorm is one kernel that stores its input alone, which a CPU does in
            steps and stores the normed input too. GPT-2's LayerNorm is one kernel on both.
    """

    precision: str = "fp32"
    micro_batch_tokens: int = 0
    devices: int = 1
    sharded: bool = False
    activation_checkpointing: bool = False
    optimizer: OptimizerCost = ADAMW_COST
    gpu: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseMemory:
    """Bytes on each device at the moment of the peak; they add up to it.

    `weights` include their bf16 copies and what is gathered of them; `gradients` are those of weights, with
    the one just made; `moments` AdamW's; `activations` what the backward pass is going to read; `logits` all
    copies and gradients of them; `working` what the operation at hand needs besides.
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
        """Bytes in all."""
        return self.weights + self.gradients + self.moments + self.activations + self.logits + self.working


def micro_batch_tokens(asked: int, batch_tokens_per_device: int, context: int, vocab: int) -> int:
    """Tokens of a micro-batch: whole sequences, at least one, at most the batch.

    Args:
        asked: tokens; 0 means as many as keep the logits within LOGITS_IN_MEMORY.
        batch_tokens_per_device, context: in tokens.
        vocab: logits per token.
    """
    sequences = max(1, (asked or LOGITS_IN_MEMORY // vocab) // context)
    return min(sequences * context, batch_tokens_per_device)


def phase_memory(model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> PhaseMemory:
    """Memory at the peak of a phase's steps, from the second on: the first has no moments yet.

    Args:
        model: the model; the phase says how many of its blocks exist.
        phase: batch and context filled in.
        trained: what it trains.
        settings: how a step is taken.
    """
    sequences = -(-phase.batch_tokens // (phase.context * settings.devices))
    tokens = sequences * phase.context
    first = micro_batch_tokens(settings.micro_batch_tokens, tokens, phase.context, model.vocab)
    second = min(first, tokens - first)
    step = _Step(model, phase, trained, settings)
    timeline = list(step.timeline(first, nth=1)) if second < first else []  # else the second needs more throughout
    if second:  # those after it find what it finds
        timeline += step.timeline(second, nth=2)
    peak = max(timeline, key=lambda moment: sum(moment[1:]))
    return PhaseMemory(
        weights=step.weights + peak.copies,
        gradients=peak.gradients,
        moments=step.gradients * settings.optimizer.state_bytes // FP32,
        activations=peak.activations,
        logits=peak.logits,
        working=peak.working,
        moment=peak.name,
    )


class _Moment(NamedTuple):
    """What there is at a moment beside weights and AdamW's moments, in bytes."""

    name: str
    copies: int  # of weights
    gradients: int
    activations: int
    logits: int
    working: int


class _Step:
    """A phase's step. `graph` is the blocks that gradients enter, `trained` those that learn; the rest bytes."""

    def __init__(self, model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> None:
        self.model, self.phase, self.settings, self.parts = model, phase, settings, trained
        self.graph = range(role_counts(trained)[Role.FORWARD], trained.depth)
        self.trained = set(trained.blocks)
        self.operand = BYTES[settings.precision]
        self.shards = settings.devices if settings.sharded else 1
        self.weights = FP32 * model.parameters_at(phase.depth) // self.shards
        self.gradients = FP32 * Ledger(model=model).trainable_parameters(trained) // self.shards

    def timeline(self, tokens: int, nth: int) -> Iterator[_Moment]:
        """What there is at each moment of a micro-batch that can be the peak, in order.

        Three never are: what blocks below the cut need for a moment is less than what a trained block stores,
        the backward pass of the final norm finds what head and loss left, and the optimizer step, unless it has to
        widen moments, no more than the end of the backward pass.

        Args:
            tokens: of the micro-batch.
            nth: which of the step; from the second on there are gradients already.
        """
        model, settings, operand = self.model, self.settings, self.operand
        head_matrix, embeddings = self.parts.head_matrix(tied=self.model.tied), self.parts.embeddings
        sharded, checkpointing, autocast = settings.sharded, settings.activation_checkpointing, operand < FP32
        accumulating = nth > 1 or (settings.devices > 1 and not sharded)
        table, stream = model.vocab * model.width, FP32 * model.width * tokens

        copied = operand * autocast
        block_copy = copied * sum(inputs * outputs for inputs, outputs in model.block_linears.values())
        gathered = sharded * FP32 * model.parameters_at(min(2, self.phase.depth))
        cached = gathered + block_copy * len(self.trained if checkpointing else self.graph)  # until forward ends
        if sharded and checkpointing:
            cached = gathered  # autocast is told to keep none
        released_copy = 0 if checkpointing else block_copy
        copies = gathered + released_copy * len(self.graph)

        stored = [self.stored_per_token(trained) * tokens for trained in (False, True)]
        kept = [stream, stream] if checkpointing else stored
        angles = FAMILIES[model.family].shared_numbers(model, self.phase.context)
        activations = 2 * INT64 * tokens + FP32 * angles  # inputs and targets; the rotary table
        activations += kept[True] * len(self.trained) + kept[False] * (len(self.graph) - len(self.trained))
        top = activations + self.final_norm_per_token() * tokens
        gradients = self.gradients if accumulating else 0

        rows = min(tokens, chunk_rows(model.vocab, gpu=settings.gpu))
        logits = (FP32 + operand * autocast) * rows * model.vocab
        head = FP32 * table * head_matrix
        product = (
            operand * rows * model.width
        )  # the stream's gradient, or the head's, which autocast makes in bf16
        product = max(product, (operand + FP32) * table * (autocast and head_matrix))
        working = 2 * stream + operand * autocast * model.width * tokens + product  # the top, its gradient, a copy
        yield _Moment("head and loss", cached + copied * table, gradients + head, top, logits, working)

        head += FP32 * model.norm_parameters * self.parts.head
        if sharded or not accumulating or (model.tied and embeddings):
            gradients += head  # a tied table's waits for what it learns as embeddings

        grown = 0 if accumulating else FP32 * model.block_parameters // self.shards
        highest: dict[bool, tuple[int, int, int, int, int]] = {}
        for block in reversed(self.graph):
            trained = block in self.trained
            level = copies + gradients + activations
            if trained not in highest or level > highest[trained][0]:
                highest[trained] = level, block, copies, gradients, activations
            copies -= released_copy
            gradients += grown * trained
            activations -= kept[trained]
        for trained, (_, block, copies_then, gradients_then, activations_then) in highest.items():
            made = FP32 * trained * (model.block_parameters if sharded else model.width * model.mlp)
            yield _Moment(
                f"backward of block {block}",
                copies_then + block_copy - released_copy,
                gradients_then + made,
                activations_then + stored[trained] - kept[trained],
                0,
                self.working_per_token(trained) * tokens,
            )
        if embeddings:
            made = FP32 * (model.position_parameters + table)  # added in place to what a tied table learnt as head
            yield _Moment("backward of the embeddings", copies, gradients + made, activations, 0, stream)
        else:
            yield _Moment(f"backward of block {self.graph.start}", copies, gradients, activations, 0, stream)
        if copied_state := self.optimizer_working():
            yield _Moment("optimizer step", gathered, self.gradients, 0, 0, copied_state)

    def optimizer_working(self) -> int:
        """Bytes that the optimizer's step needs for the largest parameter tensor."""
        model, embeddings = self.model, self.parts.embeddings
        sizes = [inputs * outputs for inputs, outputs in model.block_linears.values() if self.trained]
        sizes.append(model.vocab * model.width * (self.parts.head_matrix(tied=model.tied) or embeddings))
        sizes.append(model.position_parameters * embeddings)
        return self.settings.optimizer.working_bytes * max(sizes) // self.shards

    def stored_per_token(self, trained: bool) -> int:
        """Bytes a block that gradients enter stores for its backward pass, its input among them."""
        stored = FAMILIES[self.model.family].stored_numbers(
            self.model, trained=trained, autocast=self.operand < FP32, gpu=self.settings.gpu
        )
        return FP32 * stored.fp32 + self.operand * stored.operands

    def working_per_token(self, trained: bool) -> int:
        """Bytes a block's backward pass needs beside that when they are most, inside the MLP."""
        inner = FAMILIES[self.model.family].mlp_inputs + (not trained)
        copied = self.operand * (self.operand < FP32)
        return (FP32 + copied) * self.model.width + self.operand * inner * self.model.mlp

    def final_norm_per_token(self) -> int:
        """Bytes the final norm stores."""
        model = self.model
        normed = self.parts.head and FAMILIES[model.family].norm_stores_normalized(gpu=self.settings.gpu)
        return FP32 * model.width * (1 + normed)
