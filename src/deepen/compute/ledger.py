"""The ledger: exact FLOPs of training, for each part of a model and each direction. A multiply-add counts 2.

It counts the matrix products, as `torch.utils.flop_counter.FlopCounterMode` does: the linears of each block, the
attention core (densely: all context² products, causal or not) and the head. Embeddings, norms and pointwise
operations cost no FLOPs; their memory traffic is given in bytes. An optimizer whose update has matrix products
(Muon) pays for them once per step; its pointwise FLOPs are kept separate.

The cost of a part follows from three questions. Does the forward pass run? Always. Do gradients run *through* the
part (activation backward)? Do gradients run *to its weights* (weight backward)? For a linear, each costs as much
as the forward pass. If only blocks 2 and 3 of four are trained, the linears of each block cost, in forward passes:

    block 3   trained        forward 1, activation backward 1, weight backward 1
    block 2   trained        forward 1, activation backward 1, weight backward 1
    block 1   forward only   forward 1
    block 0   forward only   forward 1

If the embeddings were trained too, gradients would run through blocks 0 and 1: activation backward 1 each.

The attention core has no weights, but each of its products has two operands that need gradients: its activation
backward costs two forward passes, its weight backward nothing. With activation checkpointing, a block that
gradients enter runs forward again up to its last linear, whose output the backward pass does not need unless a
norm follows.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.compute.part_cost import PartCost, add_up
from deepen.model.chunks import padded_vocab
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TrainedParts


class Role(StrEnum):
    """What training does with a layer."""

    FORWARD = "forward only"
    THROUGH = "gradients run through"
    TRAINED = "trained"


class _BlockParts(NamedTuple):
    """The cost of one executed layer."""

    norms: PartCost
    linears: PartCost
    attention: PartCost


class _Skipped(NamedTuple):
    """FLOPs per token that the activation backward of a layer saves."""

    linears: int
    attention: int


_NOTHING = _Skipped(0, 0)

CLIPPING_FLOPS = 3
"""Per trained parameter and step: 2 for the gradient's norm, 1 for clipping it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What training a model costs.

    Args:
        model: the model at its final depth; the current depth comes from the `TrainedParts`.
        causal_exact: count only the part of the attention core that a causal mask leaves, (context + 1) / 2 keys
            per query on average, instead of all. It is a lower bound that no kernel reaches.
        activation_checkpointing: blocks store only their input and run forward again in the backward pass.
        optimizer: gives the FLOPs of an update, and of the matrix products in it.
    """

    model: ModelConfig
    causal_exact: bool = False
    activation_checkpointing: bool = False
    optimizer: OptimizerCost = ADAMW_COST

    def linears_forward(self) -> int:
        """FLOPs per token of one block's linears, forward."""
        return 2 * sum(inputs * outputs for inputs, outputs in self.model.block_linears.values())

    def _input_linears(self) -> int:
        """FLOPs per token of the linears that compute queries, keys and values, forward."""
        reading = FAMILIES[self.model.family].attention_inputs
        return 2 * sum(inputs * outputs for inputs, outputs in map(self.model.block_linears.__getitem__, reading))

    def attention_forward(self, context: int) -> int:
        """FLOPs per token of one block's attention core, forward: queries × keys, then weights × values.

        Every query head computes its own products, even if heads share keys.
        """
        keys_twice = context + 1 if self.causal_exact else 2 * context
        return 2 * keys_twice * self.model.query_width

    def head_forward(self) -> int:
        """FLOPs per token of the head, forward."""
        return 2 * self.model.width * self.model.vocab

    @property
    def computed(self) -> "Ledger":
        """The ledger of what a GPU computes in bf16, where the head is padded to a multiple of 64 tokens.

        Prices and budgets count the vocabulary, so that they are the same on every device.
        """
        return replace(self, model=replace(self.model, vocab=padded_vocab(self.model.vocab)))

    def evaluation_per_token(self, layers: int, context: int) -> int:
        """FLOPs per token of a forward pass through `layers` executed layers and the head."""
        return layers * (self.linears_forward() + self.attention_forward(context)) + self.head_forward()

    def parts(self, trained: TrainedParts, context: int) -> tuple[PartCost, ...]:
        """The cost of each part while `trained` is trained on sequences of `context` tokens, bottom to top."""
        embeddings, norm, head = self._parts_around_blocks(trained)
        skipped = self._skipped_backward(trained, context)
        parts, seen = [embeddings], set()
        for layer, (block, role) in enumerate(zip(trained.executed, roles(trained), strict=True)):
            name = f"layer {layer}, block {block}" if trained.layers else f"block {block}"
            for part in self._block_parts(context, role, skipped if layer == trained.cut else _NOTHING):
                parameters = 0 if block in seen else part.parameters
                parts.append(replace(part, part=f"{name} {part.part}", parameters=parameters))
            seen.add(block)
        return (*parts, norm, head)

    def grouped_parts(self, trained: TrainedParts, context: int) -> tuple[PartCost, ...]:
        """The same cost with all layers added up: embeddings, norms, linears, attention, head."""
        embeddings, norm, head = self._parts_around_blocks(trained)
        repeats = len(trained.executed) - trained.depth  # layers whose block is counted already
        norms, linears, attention = [(1, norm)], [], []
        for count, block in self._counted_layers(trained, context):
            norms.append((count, block.norms))
            linears.append((count, block.linears))
            attention.append((count, block.attention))
        blocks = (add_up("norms", norms), add_up("linears", linears), add_up("attention", attention))
        once = (repeats * self.model.block_norm_parameters, repeats * self.model.linear_parameters, 0)
        return (
            embeddings,
            *(replace(part, parameters=part.parameters - n) for part, n in zip(blocks, once, strict=True)),
            head,
        )

    def flops_per_token(self, trained: TrainedParts, context: int) -> int:
        """FLOPs per token of all parts, forward and backward, without the optimizer."""
        layers = sum(
            count * part.total for count, layer in self._counted_layers(trained, context) for part in layer
        )
        return layers + sum(part.total for part in self._parts_around_blocks(trained))

    def flops_per_step(self, trained: TrainedParts, batch_tokens: int, context: int) -> int:
        """FLOPs of one training step: all parts for `batch_tokens` tokens, and the optimizer's matrix products."""
        return batch_tokens * self.flops_per_token(trained, context) + self.optimizer_products(trained)

    def optimizer_products(self, trained: TrainedParts) -> int:
        """FLOPs of the matrix products of one optimizer step: 0 for AdamW.

        Each trained matrix counts once, however many processes repeat its update, and however often a tied block
        is executed.
        """
        cost = self.optimizer.block_matrices
        if cost is None:
            return 0
        in_a_block = sum(cost.products(*shape) for shape in self.model.block_linears.values())
        return len(trained.blocks) * in_a_block

    def trainable_parameters(self, trained: TrainedParts) -> int:
        """Parameters that receive updates; a tied matrix counts once."""
        model = self.model
        parameters = len(trained.blocks) * model.block_parameters
        if trained.norms:
            parameters += (trained.depth - len(trained.blocks)) * model.block_norm_parameters
        if trained.trains_final_norm:
            parameters += model.norm_parameters
        if trained.trains_head_matrix(tied=model.tied):
            parameters += model.table_parameters
        if trained.embeddings:
            parameters += model.position_parameters + (0 if model.tied else model.table_parameters)
        return parameters

    def optimizer_flops(self, trained: TrainedParts) -> int:
        """Pointwise FLOPs of one optimizer step, clipping included."""
        parameters, in_matrices = self.trainable_parameters(trained), self._in_block_matrices(trained)
        return CLIPPING_FLOPS * parameters + self.optimizer.total_flops(parameters, in_matrices)

    def optimizer_state_bytes(self, trained: TrainedParts) -> int:
        """Bytes of the optimizer's state of what is trained."""
        parameters, in_matrices = self.trainable_parameters(trained), self._in_block_matrices(trained)
        return self.optimizer.total_state_bytes(parameters, in_matrices)

    def _in_block_matrices(self, trained: TrainedParts) -> int:
        """Trained parameters in the blocks' matrices."""
        return len(trained.blocks) * self.linears_forward() // 2

    def _counted_layers(self, trained: TrainedParts, context: int) -> Iterator[tuple[int, _BlockParts]]:
        """How many executed layers have the same cost, and that cost."""
        kinds = Counter((role, layer == trained.cut) for layer, role in enumerate(roles(trained)))
        for (role, is_lowest), count in kinds.items():
            skipped = self._skipped_backward(trained, context) if is_lowest else _NOTHING
            yield count, self._block_parts(context, role, skipped)

    def _skipped_backward(self, trained: TrainedParts, context: int) -> _Skipped:
        """What the lowest layer above a cut saves, because its input needs no gradient.

        A norm before the first linears needs their activation backward for its gains: nothing is saved. With norms
        after attention and MLP, the input feeds the first linears directly. If only norms are trained there,
        gradients stop at the norm after attention, or at the norms of queries and keys, above the values.
        """
        model, executed = self.model, trained.executed
        if model.norm_position != "post" or trained.cut is None or trained.cut == len(executed):
            return _NOTHING
        first, attention = self._input_linears(), self.attention_forward(context)
        if executed[trained.cut] in trained.blocks:
            return _Skipped(linears=first, attention=0)
        if model.qk_norm != "none":
            return _Skipped(linears=first, attention=attention // 2)
        inputs, outputs = model.block_linears[FAMILIES[model.family].output_projections[0]]
        return _Skipped(linears=first + 2 * inputs * outputs, attention=2 * attention)

    def _block_parts(self, context: int, role: Role, skipped: _Skipped) -> _BlockParts:
        """The cost of one executed layer."""
        model, linears, attention = self.model, self.linears_forward(), self.attention_forward(context)
        gradients_enter = role is not Role.FORWARD
        recomputed = gradients_enter and self.activation_checkpointing
        *_, (inputs, outputs) = model.block_linears.values()
        # The last linear is not computed again, unless a norm after it needs its output.
        last = 0 if model.norm_position == "post" else 2 * inputs * outputs
        normed = 2 * model.width + (model.query_width + model.key_width if model.qk_norm != "none" else 0)
        return _BlockParts(
            norms=PartCost(part="norms", parameters=model.block_norm_parameters, bytes=2 * 4 * normed),
            linears=PartCost(
                part="linears",
                parameters=model.linear_parameters,
                forward=linears,
                recompute=linears - last if recomputed else 0,
                activation_backward=linears - skipped.linears if gradients_enter else 0,
                weight_backward=linears if role is Role.TRAINED else 0,
            ),
            attention=PartCost(
                part="attention",
                parameters=0,
                forward=attention,
                recompute=attention if recomputed else 0,
                activation_backward=2 * attention - skipped.attention if gradients_enter else 0,
            ),
        )

    def _parts_around_blocks(self, trained: TrainedParts) -> tuple[PartCost, PartCost, PartCost]:
        """The embeddings, the final norm and the head; gradients always run through the head."""
        model, head = self.model, self.head_forward()
        rows_read = 2 if model.position_parameters else 1
        return (
            PartCost(
                part="embeddings",
                parameters=model.table_parameters + model.position_parameters,
                bytes=(rows_read + 1) * 4 * model.width,
            ),
            PartCost(part="final norm", parameters=model.norm_parameters, bytes=2 * 4 * model.width),
            PartCost(
                part="head",
                parameters=0 if model.tied else model.table_parameters,
                forward=head,
                activation_backward=head,
                weight_backward=head if trained.trains_head_matrix(tied=model.tied) else 0,
            ),
        )


def role_counts(trained: TrainedParts) -> dict[Role, int]:
    """How many executed layers have each role."""
    counts = Counter(roles(trained))
    return {role: counts[role] for role in Role}


def roles(trained: TrainedParts) -> list[Role]:
    """The role of each executed layer, bottom to top."""
    cut, blocks = trained.cut or 0, set(trained.blocks)
    return [Role.FORWARD] * cut + [
        Role.TRAINED if block in blocks else Role.THROUGH for block in trained.executed[cut:]
    ]


def phase_flops(ledger: Ledger, schedule: Schedule) -> list[int]:
    """FLOPs of each phase of a schedule in whole steps."""
    return [
        phase.steps * _flops_per_step(ledger, trained, phase.batch_tokens, phase.context)
        for phase, trained in zip(schedule.phases, schedule.trained_parts, strict=True)
    ]


@lru_cache(maxsize=4096)  # the search for a mark prices the same phases repeatedly
def _flops_per_step(ledger: Ledger, trained: TrainedParts, batch_tokens: int, context: int) -> int:
    return ledger.flops_per_step(trained, batch_tokens, context)
