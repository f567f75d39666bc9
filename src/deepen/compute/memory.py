"""Peak device memory of a phase, in bytes, in closed form: what a training step of deepen's engine allocates.

Weights and the optimizer state of trained weights exist all the time, in fp32; from the second micro-batch on,
gradients do too. The rest comes and goes over a micro-batch:

- Forward, from the bottom up: a block that gradients enter stores what its backward pass reads; a block below the
  cut stores nothing. The head and the loss then compute the gradients of the residual stream and of the head, with
  a few rows of logits in memory at a time.
- Backward, from the top down: each block frees its activations and leaves its gradients.

With bf16 autocast, matrix products read and store bf16 copies of weights and activations; norms, residual stream
and loss stay fp32. With activation checkpointing a block stores only its input, and the rest for one block at a
time.

The peak is the largest of a few moments, one function each below. For a GPT-2 of 3 blocks, width 64, 4 heads and
512 tokens of vocabulary, trained whole in fp32 on one micro-batch of 16 × 64 tokens, `timeline` gives, in kB:

    moment                        gradients  activations  logits  working
    head and loss                       131        12960    2097      786
    backward of block 2                 197        12698       0     1311
    backward of block 1                 397         8471       0     1311
    backward of block 0                 597         4243       0     1311
    backward of the embeddings          879           16       0      262

so with 748 of weights and 1496 of optimizer state the peak is at head and loss, 18.2 MB.

Numbers are those of torch's eager mode on a CPU; tests compare them with its allocator. A GPU stores the same, but
for RMSNorm and more rows of logits (`gpu`). Not counted are buffers inside kernels (some 100 kB on a CPU) and, on
a GPU, its context, cuBLAS's workspace, and what the allocator rounds up or cannot reuse. In fp32 with grouped
queries a GPU has no flash attention and stores all context² scores; these are not counted either.

Sharded (FSDP2), weights, gradients and optimizer state are divided by the devices. Gathered in fp32 are
embeddings, final norm and head all the time, and blocks two at a time (the current and the next). Autocast's
copies come on top, and stay for the backward pass unless blocks run twice. The gradients of one block are whole,
in fp32, before they are scattered; those of head and embeddings are whole to the end. Buffers of the communication
are not counted, and differ from run to run: where weights are most of the memory, the peak was up to 24 % higher
(docs/log.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from deepen.compute.ledger import Ledger, Role, role_counts
from deepen.compute.memory_settings import BYTES, MemorySettings, micro_batch_tokens
from deepen.model.chunks import chunk_rows
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts

FP32, INT64 = 4, 8
"""Bytes of a number that is fp32 whatever the precision, and of a token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseMemory:
    """Bytes on each device at the moment of the peak; their sum is the peak.

    `weights` include their bf16 copies and what is gathered of them; `gradients` are those of weights, with
    the one just computed; `moments` are the optimizer's state; `activations` are what the backward pass will read;
    `logits` are all copies and gradients of them; `working` is what the current operation needs besides. `moment`
    is the name of the moment.
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


class Moment(NamedTuple):
    """Bytes at a moment of a step, beside weights and optimizer state."""

    name: str
    weight_copies: int
    gradients: int
    activations: int
    logits: int
    working: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weight_copies + self.gradients + self.activations + self.logits + self.working


def phase_memory(model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> PhaseMemory:
    """Memory at the peak of a phase's steps, from the second on: the first has no optimizer state yet.

    Args:
        model: the model; the phase determines how many of its blocks exist.
        phase: batch and context filled in.
        trained: what it trains.
        settings: how a step is taken.
    """
    step = _Step(model, phase, trained, settings)
    peak = max(step.timeline(), key=lambda moment: moment.total)
    return PhaseMemory(
        weights=step.weights + peak.weight_copies,
        gradients=peak.gradients,
        moments=step.gradients * settings.optimizer.state_bytes // FP32,
        activations=peak.activations,
        logits=peak.logits,
        working=peak.working,
        moment=peak.name,
    )


def timeline(model: ModelConfig, phase: Phase, trained: TrainedParts, settings: MemorySettings) -> list[Moment]:
    """The moments of a step that can be its peak, in order. Arguments as those of `phase_memory`."""
    return list(_Step(model, phase, trained, settings).timeline())


class _Step:
    """What all micro-batches of a phase's step have in common; sizes in bytes.

    `graph` are the blocks that gradients enter, `trained` those of them that learn. `weights` and `gradients` are
    of everything that exists and everything that is trained.
    """

    def __init__(self, model: ModelConfig, phase: Phase, parts: TrainedParts, settings: MemorySettings) -> None:
        self.model, self.phase, self.parts, self.settings = model, phase, parts, settings
        self.family = FAMILIES[model.family]
        self.graph = range(role_counts(parts)[Role.FORWARD], parts.depth)
        self.trained = frozenset(parts.blocks)
        self.trains_head_matrix = parts.trains_head_matrix(tied=model.tied)
        self.replicated = settings.devices > 1 and not settings.sharded

        self.operand = BYTES[settings.precision]
        self.autocast = self.operand < FP32
        self.copy = self.operand if self.autocast else 0  # of one number, for a matrix product
        self.shards = settings.devices if settings.sharded else 1
        self.weights = FP32 * model.parameters_at(parts.depth) // self.shards
        self.gradients = FP32 * Ledger(model=model).trainable_parameters(parts) // self.shards
        self.table = model.table_parameters  # of embedding and head each
        self.block_parameters = model.block_parameters
        self.gathered = FP32 * model.parameters_at(min(2, parts.depth)) if settings.sharded else 0
        self.block_copy = self.copy * sum(inputs * outputs for inputs, outputs in model.block_linears.values())

    def timeline(self) -> Iterator[Moment]:
        """The moments that can be the peak, in order.

        Three kinds cannot: what blocks below the cut need is less than what a trained block stores; the backward
        pass of the final norm needs no more than head and loss left; and the optimizer step, unless it makes
        copies of its state, needs no more than the end of the backward pass.
        """
        phase, settings = self.phase, self.settings
        sequences = -(-phase.batch_tokens // (phase.context * settings.devices))
        tokens = sequences * phase.context
        first = micro_batch_tokens(settings.micro_batch_tokens, tokens, phase.context, self.model.vocab)
        second = min(first, tokens - first)
        if second < first:  # otherwise the second, which finds gradients, needs more throughout
            yield from _MicroBatch(self, first, has_gradients=self.replicated).moments()
        if second:  # those after it are no larger
            yield from _MicroBatch(self, second, has_gradients=True).moments()
        if self.settings.optimizer.working_bytes:
            yield self.optimizer_step()

    def optimizer_step(self) -> Moment:
        """All gradients, and copies of the optimizer state of the largest parameter tensor."""
        model, parts = self.model, self.parts
        sizes = [0]
        if self.trained:
            sizes += [inputs * outputs for inputs, outputs in model.block_linears.values()]
        if self.trains_head_matrix or parts.embeddings:
            sizes.append(self.table)
        if parts.embeddings:
            sizes.append(model.position_parameters)
        working = self.settings.optimizer.working_bytes * max(sizes) // self.shards
        return Moment("optimizer step", self.gathered, self.gradients, 0, 0, working)


class _MicroBatch:
    """The moments of one micro-batch.

    Args:
        step: of which it is a part.
        tokens: of the micro-batch on one device.
        has_gradients: whether all gradients exist before it begins.
    """

    def __init__(self, step: _Step, tokens: int, *, has_gradients: bool) -> None:
        self.step, self.tokens, self.has_gradients = step, tokens, has_gradients
        model, checkpointing = step.model, step.settings.activation_checkpointing
        self.stream = FP32 * model.width * tokens  # one copy of the residual stream
        self.stored = {trained: self.stored_by_block(trained) for trained in (True, False)}
        self.kept = {trained: self.stream if checkpointing else self.stored[trained] for trained in (True, False)}
        self.kept_copy = 0 if checkpointing else step.block_copy  # of a block's weights, until its backward pass
        shared = step.family.shared_numbers(model, step.phase.context)
        self.working = {trained: self.working_in_mlp(trained) for trained in (True, False)}
        self.norm_gradient = FP32 * model.norm_parameters if step.parts.head else 0
        self.batch = 2 * INT64 * tokens + FP32 * shared  # inputs and targets, and what all blocks share

    def moments(self) -> Iterator[Moment]:
        """In order: head and loss, the backward passes of blocks from the top down, that of the embeddings."""
        step = self.step
        yield self.head_and_loss()
        trained, through = len(step.trained), len(step.graph) - len(step.trained)
        for block in reversed(step.graph):
            yield self.backward_of_block(block, trained, through)
            if block in step.trained:
                trained -= 1
            else:
                through -= 1
        yield self.backward_of_embeddings() if step.parts.embeddings else self.backward_of_lowest_block()

    def head_and_loss(self) -> Moment:
        """All activations, a few rows of logits, and the gradients of the residual stream and of the head."""
        step, model = self.step, self.step.model
        rows = min(self.tokens, chunk_rows(model.vocab, gpu=step.settings.gpu))
        product = step.operand * rows * model.width  # the gradient of some rows of the stream
        if step.autocast and step.trains_head_matrix:
            product = max(
                product, (step.operand + FP32) * step.table
            )  # that of the head, in bf16 and then in fp32
        return Moment(
            "head and loss",
            weight_copies=self.copies_after_forward() + step.copy * step.table,
            gradients=(step.gradients if self.has_gradients else 0) + self.head_matrix_gradient(),
            activations=self.activations(len(step.trained), len(step.graph) - len(step.trained))
            + self.stored_by_final_norm(),
            logits=(FP32 + step.copy) * rows * model.vocab,
            working=2 * self.stream + step.copy * model.width * self.tokens + product,  # top, its gradient, a copy
        )

    def backward_of_block(self, block: int, trained: int, through: int) -> Moment:
        """A block in the middle of its MLP's backward pass.

        Args:
            block: its index.
            trained, through: blocks that have not run backward yet, this one among them.
        """
        step, learns = self.step, block in self.step.trained
        new_gradient = 0
        if learns:  # sharded, all of a block's gradients are whole until they are scattered
            sharded = step.settings.sharded
            new_gradient = FP32 * (step.block_parameters if sharded else step.model.width * step.model.mlp)
        return Moment(
            f"backward of block {block}",
            weight_copies=self.weight_copies(trained + through) + step.block_copy - self.kept_copy,
            gradients=self.gradients(trained) + new_gradient,
            activations=self.activations(trained, through) + self.stored[learns] - self.kept[learns],
            logits=0,
            working=self.working[learns],
        )

    def backward_of_lowest_block(self) -> Moment:
        """The end of a backward pass that stops below the lowest trained block."""
        name = f"backward of block {self.step.graph.start}"
        return Moment(name, self.weight_copies(0), self.gradients(0), self.activations(0, 0), 0, self.stream)

    def backward_of_embeddings(self) -> Moment:
        """The end of a whole backward pass: the tables get their gradients.

        That of a tied table is made whole too, before it is added to what the table learned as the head.
        """
        gradient = FP32 * (self.step.model.position_parameters + self.step.table)
        return Moment(
            "backward of the embeddings",
            weight_copies=self.weight_copies(0),
            gradients=self.gradients(0) + gradient,
            activations=self.activations(0, 0),
            logits=0,
            working=self.stream,
        )

    def weight_copies(self, blocks: int) -> int:
        """Gathered weights, and bf16 copies, while so many blocks have not run backward yet."""
        return self.step.gathered + self.kept_copy * blocks

    def copies_after_forward(self) -> int:
        """The same when the forward pass ends. Autocast then still has copies of trained blocks that run twice."""
        step = self.step
        if not step.settings.activation_checkpointing:
            return self.weight_copies(len(step.graph))
        if step.settings.sharded:
            return step.gathered  # the engine turns autocast's cache off
        return step.gathered + step.block_copy * len(step.trained)

    def gradients(self, trained: int) -> int:
        """Gradients of weights below the head while so many trained blocks have not run backward yet."""
        step, model = self.step, self.step.model
        head = self.head_matrix_gradient() + self.norm_gradient
        if self.has_gradients:
            # Added to those that exist already. Two wait: one that is to be scattered, and that of a tied table,
            # until the embeddings have theirs.
            waits = step.settings.sharded or (model.tied and step.parts.embeddings)
            return step.gradients + (head if waits else 0)
        return head + FP32 * step.block_parameters // step.shards * (len(step.trained) - trained)

    def head_matrix_gradient(self) -> int:
        """The gradient of the head's matrix, where it is trained."""
        return FP32 * self.step.table if self.step.trains_head_matrix else 0

    def activations(self, trained: int, through: int) -> int:
        """The batch and what blocks store, while so many of them have not run backward yet."""
        return self.batch + self.kept[True] * trained + self.kept[False] * through

    def stored_by_block(self, trained: bool) -> int:
        """What a block that gradients enter stores for its backward pass, its input among it."""
        step = self.step
        stored = step.family.stored_numbers(
            step.model, trained=trained, autocast=step.autocast, gpu=step.settings.gpu
        )
        return (FP32 * stored.fp32 + step.operand * stored.operands) * self.tokens

    def stored_by_final_norm(self) -> int:
        """Its input and, in some families, its normalized input."""
        step = self.step
        normalized = step.parts.head and step.family.norm_stores_normalized(gpu=step.settings.gpu)
        return (2 if normalized else 1) * self.stream

    def working_in_mlp(self, trained: bool) -> int:
        """What a block's backward pass needs besides, where that is most: inside the MLP."""
        step, model = self.step, self.step.model
        inner = step.family.mlp_inputs + (0 if trained else 1)
        return ((FP32 + step.copy) * model.width + step.operand * inner * model.mlp) * self.tokens
