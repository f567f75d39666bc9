"""The moments of a training step that can be the peak of its memory; `memory.py` explains them."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from deepen.compute.memory_settings import micro_batch_tokens
from deepen.compute.memory_step import FP32, INT64, Moment, Step
from deepen.model.chunks import chunk_rows


def list_moments(step: Step) -> Iterator[Moment]:
    """The moments of a step that can be the peak, in order.

    Three kinds of moments are left out, because they cannot be the peak. Blocks below the cut need less than a
    trained block stores. The backward pass of the final norm needs no more than head and loss did. The
    step of AdamW, unless it copies its state, needs no more than the end of the backward pass.
    """
    phase, settings = step.phase, step.settings
    sequences = -(-phase.batch_tokens // (phase.context * settings.devices))
    tokens = sequences * phase.context
    first = micro_batch_tokens(settings.micro_batch_tokens, tokens, phase.context, step.model.vocab)
    second = min(first, tokens - first)
    if second < first:  # an equal second one needs at least as much, because gradients exist already
        yield from _MicroBatch(step, first, has_gradients=step.replicated).moments()
    if second:  # later ones are no larger
        yield from _MicroBatch(step, second, has_gradients=True).moments()
    if settings.optimizer.working_bytes or settings.optimizer.block_matrices:
        yield step.optimizer_step()


class _Position(NamedTuple):
    """A position in the backward pass of a micro-batch.

    `trained` and `through` count the layers that have not run backward yet: those of trained blocks, and the
    others. `blocks` counts the trained blocks that these layers execute, `begun` the trained blocks of which a
    layer has run, and `unfinished` those of which a layer has run, but not all.
    """

    trained: int
    through: int
    blocks: int
    begun: int
    unfinished: int


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
        self.norm_gradient = FP32 * model.norm_parameters if step.parts.trains_final_norm else 0
        self.batch = 2 * INT64 * tokens + FP32 * shared  # inputs, targets, and tensors that all layers share

    def moments(self) -> Iterator[Moment]:
        """In order: head and loss, then the backward passes of the blocks and of the embeddings.

        If gradients enter no block, the forward pass of a block can need more than head and loss.
        """
        step = self.step
        *backward, end = self.positions()
        if step.parts.depth and not backward:
            yield self.forward_of_frozen_block()
        yield self.head_and_loss([*backward, end][0])
        for position, block in zip(backward, reversed(step.graph), strict=True):
            yield self.layer_backward(position, block)
        if step.parts.embeddings:
            yield self.embeddings_backward(end)
        elif backward:
            yield self.lowest_layer_backward(end)

    def positions(self) -> Iterator[_Position]:
        """The positions of the backward pass: before each layer, from the topmost down, and after the lowest."""
        step = self.step
        layers, left = Counter(step.graph), Counter(step.graph)
        trained = sum(layers[block] for block in step.trained)
        blocks, begun, unfinished = len(step.trained), 0, 0
        for layer in range(len(step.graph), 0, -1):
            yield _Position(trained, layer - trained, blocks, begun, unfinished)
            block = step.graph[layer - 1]
            if block in step.trained:
                is_first, is_last = left[block] == layers[block], left[block] == 1
                trained, blocks, begun = trained - 1, blocks - is_last, begun + is_first
                unfinished += is_first - is_last
            left[block] -= 1
        yield _Position(0, 0, 0, begun, 0)

    def forward_of_frozen_block(self) -> Moment:
        """A block without gradients, inside its MLP, where three copies of the residual stream exist."""
        step, model = self.step, self.step.model
        hidden = step.operand * model.mlp * self.tokens
        matrix = 0 if step.settings.sharded else model.mlp  # a gathered one is a copy already
        copies = step.copy * model.width * (matrix + self.tokens)  # of a matrix and its input, for one product
        return Moment(
            "forward of a block",
            weight_copies=step.gathered,
            gradients=step.held_gradients if self.has_gradients else 0,
            activations=self.batch,
            logits=0,
            working=3 * self.stream + step.family.mlp_inputs * hidden + max(hidden, copies),
        )

    def head_and_loss(self, start: _Position) -> Moment:
        """All activations, a few rows of logits, and the gradients of the residual stream and of the head.

        The softmax has the logits in fp32 too. The products have only their gradient, in the products' type.
        """
        step, model = self.step, self.step.model
        rows = min(self.tokens, chunk_rows(model.vocab, gpu=step.settings.gpu))
        product = step.operand * rows * model.width  # the gradient of a chunk of the residual stream
        if step.autocast and step.trains_head_matrix:
            head_gradient = (step.operand + FP32) * step.table  # in bf16, then in fp32
            product = max(product, head_gradient)
        logits = rows * model.vocab
        in_softmax, in_products = (FP32 + step.copy) * logits, step.operand * logits
        is_softmax = in_softmax > in_products + product
        stream_copy = step.copy * model.width * self.tokens
        return Moment(
            "head and loss",
            weight_copies=self.copies_after_forward(start) + step.copy * step.table,
            gradients=(step.held_gradients if self.has_gradients else 0) + self.head_matrix_gradient(),
            activations=self.activations(start) + self.stored_by_final_norm(),
            logits=in_softmax if is_softmax else in_products,
            working=2 * self.stream + stream_copy + (0 if is_softmax else product),  # the stream, and its gradient
        )

    def layer_backward(self, position: _Position, block: int) -> Moment:
        """The layer at a position, which executes `block`, in the middle of its MLP's backward pass."""
        step, is_trained = self.step, block in self.step.trained
        new_gradient = 0
        if is_trained:
            sharded = step.settings.sharded  # then all gradients of a block are whole until they are scattered
            matrix = FP32 * step.model.width * step.model.mlp
            new_gradient = step.operand * step.block_parameters if sharded else matrix
        return Moment(
            self.name_layer(position.trained + position.through - 1),
            weight_copies=self.weight_copies(position) + step.block_copy - self.kept_copy,
            gradients=self.gradients(position) + new_gradient,
            activations=self.activations(position) + self.stored[is_trained] - self.kept[is_trained],
            logits=0,
            working=self.working[is_trained],
        )

    def lowest_layer_backward(self, end: _Position) -> Moment:
        """The end of a backward pass that stops below the lowest layer with trained parts."""
        return Moment(
            self.name_layer(0),
            self.weight_copies(end),
            self.gradients(end),
            self.activations(end),
            logits=0,
            working=self.stream,
        )

    def name_layer(self, number: int) -> str:
        """The name of the backward pass of a layer, by its number among those that gradients enter."""
        layer = len(self.step.parts.executed) - len(self.step.graph) + number
        return f"backward of {'layer' if self.step.parts.layers else 'block'} {layer}"

    def embeddings_backward(self, end: _Position) -> Moment:
        """The end of a backward pass without a cut: the tables get their gradients.

        A tied table's gradient is also allocated as a whole before it is added to its gradient as the head.
        """
        gradient = FP32 * (self.step.model.position_parameters + self.step.table)
        return Moment(
            "backward of the embeddings",
            weight_copies=self.weight_copies(end),
            gradients=self.gradients(end) + gradient,
            activations=self.activations(end),
            logits=0,
            working=self.stream,
        )

    def weight_copies(self, position: _Position) -> int:
        """Gathered weights, and bf16 copies; all layers of a trained block use the same copy."""
        return self.step.gathered + self.kept_copy * (position.blocks + position.through)

    def copies_after_forward(self, start: _Position) -> int:
        """The same after the forward pass, when autocast still caches copies of checkpointed trained blocks."""
        step = self.step
        if not step.settings.activation_checkpointing:
            return self.weight_copies(start)
        if step.settings.sharded:
            return step.gathered  # the engine turns autocast's cache off
        return step.gathered + step.block_copy * len(step.trained)

    def gradients(self, position: _Position) -> int:
        """Gradients of weights. While some layers of a block have not run backward, its gradient is apart."""
        step, model = self.step, self.step.model
        head = self.head_matrix_gradient() + self.norm_gradient
        unfinished = step.operand * step.block_parameters * position.unfinished
        if self.has_gradients:
            # New gradients are added to existing ones and freed. The head's is kept longer if it is scattered
            # later, or if it belongs to a tied table, which gets another one from the embeddings.
            is_kept = step.settings.sharded or (model.tied and step.parts.embeddings)
            return step.held_gradients + unfinished + (head if is_kept else 0)
        finished = position.begun - position.unfinished
        return head + unfinished + FP32 * step.block_parameters // step.shards * finished

    def head_matrix_gradient(self) -> int:
        """The gradient of the head's matrix, if it is trained."""
        return FP32 * self.step.table if self.step.trains_head_matrix else 0

    def activations(self, position: _Position) -> int:
        """The batch, and what the layers store that have not run backward yet."""
        return self.batch + self.kept[True] * position.trained + self.kept[False] * position.through

    def stored_by_block(self, trained: bool) -> int:
        """What a block that gradients enter stores for its backward pass, including its input."""
        step = self.step
        stored = step.family.stored_numbers(
            step.model,
            trained=trained,
            trains_norms=trained or step.parts.norms,
            autocast=step.autocast,
            gpu=step.settings.gpu,
        )
        return (FP32 * stored.fp32 + step.operand * stored.operands) * self.tokens

    def stored_by_final_norm(self) -> int:
        """The final norm's input and, in some families, its normalized input."""
        step = self.step
        normalized = step.parts.trains_final_norm and step.family.norm_stores_normalized(gpu=step.settings.gpu)
        return (2 if normalized else 1) * self.stream

    def working_in_block(self, trained: bool) -> int:
        """What else a block's backward pass needs at its largest: inside the MLP, or in a norm that follows it."""
        step, model = self.step, self.step.model
        inner = step.operand * (step.family.mlp_inputs + (0 if trained else 1)) * model.mlp * self.tokens
        stream_copy = step.copy * model.width * self.tokens
        if model.norm_position == "pre":
            return self.stream + stream_copy + inner
        # The norm after the MLP has freed what it stored. The gradient of its input is fp32, or a copy of that.
        trains_norms = trained or step.parts.norms
        stores_normalized = trains_norms and step.family.norm_stores_normalized(gpu=step.settings.gpu)
        input_gradient = stream_copy if step.autocast else self.stream
        in_mlp = self.stream + input_gradient + inner - (2 if stores_normalized else 1) * self.stream
        in_norm = (2 if step.settings.gpu else 6) * self.stream - stores_normalized * self.stream
        return max(in_mlp, in_norm)
