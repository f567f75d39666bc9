"""The moments of a training step that can be the peak of its memory; `memory.py` explains them.

A `Step` knows what all its micro-batches have in common, and lists the moments of each.
"""

from collections.abc import Iterator
from typing import NamedTuple

from deepen.compute.ledger import Ledger, Role, role_counts
from deepen.compute.memory_settings import BYTES, MemorySettings, micro_batch_tokens
from deepen.model.chunks import chunk_rows
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.phase import Phase
from deepen.schedule.trainable import TrainedParts

FP32, INT64 = 4, 8
"""Bytes of a number that is fp32 at any precision, and of a token."""


class Moment(NamedTuple):
    """Bytes at a moment of a step, in addition to weights and optimizer state."""

    name: str
    weight_copies: int
    gradients: int
    activations: int
    logits: int
    working: int

    @property
    def total(self) -> int:
        """Total bytes."""
        return self.weight_copies + self.gradients + self.activations + self.logits + self.working


class Step:
    """What all micro-batches of a step have in common; sizes are in bytes.

    `graph` holds the blocks that gradients enter, and `trained` the trained blocks among them. `weights` and
    `gradients` are the bytes of all weights and of all gradients.
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
        self.copy = self.operand if self.autocast else 0  # bytes per number of a copy for a matrix product
        self.shards = settings.devices if settings.sharded else 1
        self.weights = FP32 * model.parameters_at(parts.depth) // self.shards
        self.ledger = Ledger(model=model, optimizer=settings.optimizer)
        self.gradients = FP32 * self.ledger.trainable_parameters(parts) // self.shards
        self.table = model.table_parameters  # numbers in the embedding, and in the head
        self.block_parameters = model.block_parameters
        self.gathered = FP32 * model.parameters_at(min(2, parts.depth)) if settings.sharded else 0
        self.block_copy = self.copy * sum(inputs * outputs for inputs, outputs in model.block_linears.values())

    def timeline(self) -> Iterator[Moment]:
        """The moments that can be the peak, in order.

        Three kinds of moments are left out, because they cannot be the peak. Blocks below the cut need less than a
        trained block stores. The backward pass of the final norm needs no more than head and loss did. The
        step of AdamW, unless it copies its state, needs no more than the end of the backward pass.
        """
        phase, settings = self.phase, self.settings
        sequences = -(-phase.batch_tokens // (phase.context * settings.devices))
        tokens = sequences * phase.context
        first = micro_batch_tokens(settings.micro_batch_tokens, tokens, phase.context, self.model.vocab)
        second = min(first, tokens - first)
        if second < first:  # an equal second one needs at least as much, because gradients exist already
            yield from _MicroBatch(self, first, has_gradients=self.replicated).moments()
        if second:  # later ones are no larger
            yield from _MicroBatch(self, second, has_gradients=True).moments()
        if settings.optimizer.working_bytes or settings.optimizer.block_matrices:
            yield self.optimizer_step()

    def optimizer_step(self) -> Moment:
        """All gradients, and what the update of one parameter tensor needs, the largest of them.

        A matrix whose update is orthogonalized is gathered as a whole on each device.
        """
        model, parts = self.model, self.parts
        sizes = [0]
        if self.trained:
            sizes += [inputs * outputs for inputs, outputs in model.block_linears.values()]
        if self.trains_head_matrix or parts.embeddings:
            sizes.append(self.table)
        if parts.embeddings:
            sizes.append(model.position_parameters)
        optimizer = self.settings.optimizer
        working = optimizer.working_bytes * max(sizes) // self.shards
        if self.trained and optimizer.block_matrices:
            products = (optimizer.block_matrices.working_bytes(*shape) for shape in model.block_linears.values())
            working = max(working, *products)
        return Moment("optimizer step", self.gathered, self.gradients, 0, 0, working)


class _MicroBatch:
    """The moments of one micro-batch.

    Args:
        step: the step that it belongs to.
        tokens: tokens of the micro-batch on one device.
        has_gradients: whether all gradients exist before it begins.
    """

    def __init__(self, step: Step, tokens: int, *, has_gradients: bool) -> None:
        self.step, self.tokens, self.has_gradients = step, tokens, has_gradients
        model, checkpointing = step.model, step.settings.activation_checkpointing
        self.stream = FP32 * model.width * tokens  # one copy of the residual stream
        self.stored = {trained: self.stored_by_block(trained) for trained in (True, False)}
        self.kept = {trained: self.stream if checkpointing else self.stored[trained] for trained in (True, False)}
        self.kept_copy = 0 if checkpointing else step.block_copy  # of a block's weights, until its backward pass
        shared = step.family.shared_numbers(model, step.phase.context)
        self.working = {trained: self.working_in_block(trained) for trained in (True, False)}
        self.norm_gradient = FP32 * model.norm_parameters if step.parts.head else 0
        self.batch = 2 * INT64 * tokens + FP32 * shared  # inputs, targets, and tensors that all blocks share

    def moments(self) -> Iterator[Moment]:
        """In order: head and loss, then the backward passes of the blocks and of the embeddings.

        If gradients enter no block, the forward pass of a block can need more than head and loss.
        """
        step = self.step
        if step.parts.depth and not step.graph:
            yield self.forward_of_frozen_block()
        yield self.head_and_loss()
        trained, through = len(step.trained), len(step.graph) - len(step.trained)
        for block in reversed(step.graph):
            yield self.backward_of_block(block, trained, through)
            if block in step.trained:
                trained -= 1
            else:
                through -= 1
        if step.parts.embeddings:
            yield self.backward_of_embeddings()
        elif step.graph:
            yield self.backward_of_lowest_block()

    def forward_of_frozen_block(self) -> Moment:
        """A block without gradients, inside its MLP, where three copies of the residual stream exist."""
        step, model = self.step, self.step.model
        hidden = step.operand * model.mlp * self.tokens
        copies = step.copy * model.width * (model.mlp + self.tokens)  # of a matrix and its input, for one product
        return Moment(
            "forward of a block",
            weight_copies=step.gathered,
            gradients=step.gradients if self.has_gradients else 0,
            activations=self.batch,
            logits=0,
            working=3 * self.stream + step.family.mlp_inputs * hidden + max(hidden, copies),
        )

    def head_and_loss(self) -> Moment:
        """All activations, a few rows of logits, and the gradients of the residual stream and of the head."""
        step, model = self.step, self.step.model
        rows = min(self.tokens, chunk_rows(model.vocab, gpu=step.settings.gpu))
        product = step.operand * rows * model.width  # the gradient of a chunk of the residual stream
        if step.autocast and step.trains_head_matrix:
            head_gradient = (step.operand + FP32) * step.table  # in bf16, then in fp32
            product = max(product, head_gradient)
        stream_copy = step.copy * model.width * self.tokens
        return Moment(
            "head and loss",
            weight_copies=self.copies_after_forward() + step.copy * step.table,
            gradients=(step.gradients if self.has_gradients else 0) + self.head_matrix_gradient(),
            activations=self.activations(len(step.trained), len(step.graph) - len(step.trained))
            + self.stored_by_final_norm(),
            logits=(FP32 + step.copy) * rows * model.vocab,
            working=2 * self.stream + stream_copy + product,  # the top of the stream, and its gradient
        )

    def backward_of_block(self, block: int, trained: int, through: int) -> Moment:
        """A block in the middle of its MLP's backward pass.

        Args:
            block: its index.
            trained, through: how many trained and other blocks have not run backward yet, including this one.
        """
        step, is_trained = self.step, block in self.step.trained
        new_gradient = 0
        if is_trained:
            sharded = step.settings.sharded  # then all gradients of a block are whole until they are scattered
            new_gradient = FP32 * (step.block_parameters if sharded else step.model.width * step.model.mlp)
        return Moment(
            f"backward of block {block}",
            weight_copies=self.weight_copies(trained + through) + step.block_copy - self.kept_copy,
            gradients=self.gradients(trained) + new_gradient,
            activations=self.activations(trained, through) + self.stored[is_trained] - self.kept[is_trained],
            logits=0,
            working=self.working[is_trained],
        )

    def backward_of_lowest_block(self) -> Moment:
        """The end of a backward pass that stops below the lowest trained block."""
        name = f"backward of block {self.step.graph.start}"
        return Moment(name, self.weight_copies(0), self.gradients(0), self.activations(0, 0), 0, self.stream)

    def backward_of_embeddings(self) -> Moment:
        """The end of a backward pass without a cut: the tables get their gradients.

        A tied table's gradient is also allocated as a whole before it is added to its gradient as the head.
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
        """Gathered weights, and bf16 copies, while `blocks` blocks have not run backward yet."""
        return self.step.gathered + self.kept_copy * blocks

    def copies_after_forward(self) -> int:
        """The same after the forward pass, when autocast still caches copies of checkpointed trained blocks."""
        step = self.step
        if not step.settings.activation_checkpointing:
            return self.weight_copies(len(step.graph))
        if step.settings.sharded:
            return step.gathered  # the engine turns autocast's cache off
        return step.gathered + step.block_copy * len(step.trained)

    def gradients(self, trained: int) -> int:
        """Gradients of weights while `trained` trained blocks have not run backward yet."""
        step, model = self.step, self.step.model
        head = self.head_matrix_gradient() + self.norm_gradient
        if self.has_gradients:
            # New gradients are added to existing ones and freed. The head's is kept longer if it is scattered
            # later, or if it belongs to a tied table, which gets another one from the embeddings.
            is_kept = step.settings.sharded or (model.tied and step.parts.embeddings)
            return step.gradients + (head if is_kept else 0)
        return head + FP32 * step.block_parameters // step.shards * (len(step.trained) - trained)

    def head_matrix_gradient(self) -> int:
        """The gradient of the head's matrix, if it is trained."""
        return FP32 * self.step.table if self.step.trains_head_matrix else 0

    def activations(self, trained: int, through: int) -> int:
        """The batch, and what `trained` trained and `through` other blocks store until their backward pass."""
        return self.batch + self.kept[True] * trained + self.kept[False] * through

    def stored_by_block(self, trained: bool) -> int:
        """What a block that gradients enter stores for its backward pass, including its input."""
        step = self.step
        stored = step.family.stored_numbers(
            step.model, trained=trained, autocast=step.autocast, gpu=step.settings.gpu
        )
        return (FP32 * stored.fp32 + step.operand * stored.operands) * self.tokens

    def stored_by_final_norm(self) -> int:
        """The final norm's input and, in some families, its normalized input."""
        step = self.step
        normalized = step.parts.head and step.family.norm_stores_normalized(gpu=step.settings.gpu)
        return (2 if normalized else 1) * self.stream

    def working_in_block(self, trained: bool) -> int:
        """What else a block's backward pass needs at its largest: inside the MLP, or in a norm that follows it."""
        step, model = self.step, self.step.model
        inner = step.operand * (step.family.mlp_inputs + (0 if trained else 1)) * model.mlp * self.tokens
        stream_copy = step.copy * model.width * self.tokens
        if model.norm_position == "pre":
            return self.stream + stream_copy + inner
        # The norm after the MLP has freed what it stored. The gradient of its input is fp32, or a copy of that.
        stores_normalized = trained and step.family.norm_stores_normalized(gpu=step.settings.gpu)
        input_gradient = stream_copy if step.autocast else self.stream
        in_mlp = self.stream + input_gradient + inner - (2 if stores_normalized else 1) * self.stream
        in_norm = (2 if step.settings.gpu else 6) * self.stream - stores_normalized * self.stream
        return max(in_mlp, in_norm)
