"""What all micro-batches of a training step have in common; `memory.py` explains the model."""

from typing import NamedTuple

from deepen.compute.ledger import Ledger
from deepen.compute.memory_settings import BYTES, MemorySettings
from deepen.compute.optimizer_cost import MAX_GROUP_BYTES
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

    `graph` holds, for each layer that gradients enter, bottom to top, its block, and `trained` the trained blocks.
    `weights` is the bytes of all weights, `gradients` those of all gradients at the optimizer's step, and
    `held_gradients` those between two micro-batches.
    """

    def __init__(self, model: ModelConfig, phase: Phase, parts: TrainedParts, settings: MemorySettings) -> None:
        self.model, self.phase, self.parts, self.settings = model, phase, parts, settings
        self.family = FAMILIES[model.family]
        self.graph = parts.executed[parts.cut or 0 :]
        self.trained = frozenset(parts.blocks)
        self.trains_head_matrix = parts.trains_head_matrix(tied=model.tied)
        self.replicated = settings.devices > 1 and not settings.sharded

        self.operand = BYTES[settings.precision]
        self.autocast = self.operand < FP32
        self.copy = self.operand if self.autocast else 0  # bytes per number of a copy for a matrix product
        self.shards = settings.shards
        self.weights = FP32 * model.parameters_at(parts.depth) // self.shards
        self.ledger = Ledger(model=model, optimizer=settings.optimizer)
        self.gradients = FP32 * self.ledger.trainable_parameters(parts) // self.shards
        self.held_gradients = self.gradients * (self.shards if settings.reduce_once else 1)
        self.table = model.table_parameters  # numbers in the embedding, and in the head
        self.block_parameters = model.block_parameters
        self.gathered = self._gathered_bytes() if settings.sharded else 0
        matrices = sum(inputs * outputs for inputs, outputs in model.block_linears.values())
        self.block_copy = 0 if settings.sharded else self.copy * matrices  # sharded ones are gathered as copies

    def _gathered_bytes(self) -> int:
        """Weights that are whole: all that is around the blocks, and two blocks, the current and the next one.

        With autocast, the norms of all blocks are with what is around them.
        """
        model, depth = self.model, self.parts.depth
        if not self.autocast:
            return FP32 * model.parameters_at(min(2, depth))
        around = model.parameters_at(0) + depth * model.block_norm_parameters
        return FP32 * around + self.operand * min(2, depth) * model.linear_parameters

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
        if self.settings.gpu:
            every = optimizer.working_bytes * self.gradients // FP32
            working = max(working, min(every, MAX_GROUP_BYTES))
        if self.trained and optimizer.block_matrices:
            products = (optimizer.block_matrices.working_bytes(*shape) for shape in model.block_linears.values())
            working = max(working, *products)
        return Moment("optimizer step", self.gathered, self.gradients, 0, 0, working)
