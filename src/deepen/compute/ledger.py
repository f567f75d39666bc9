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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.schedule.phase import Schedule
from deepen.schedule.trainable import TrainedParts


class Role(StrEnum):
    """What training does with a block."""

    FORWARD = "forward only"
    THROUGH = "gradients run through"
    TRAINED = "trained"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCost:
    """The cost of one part: a block's linears, attention core or norms, the embeddings, the final norm, the head.

    Attributes:
        part: the name of the part.
        parameters: its number of parameters.
        forward, recompute, activation_backward, weight_backward: FLOPs per token.
        bytes: for a part without FLOPs, bytes of activations and table rows in fp32 that its forward pass reads
            and writes per token.
    """

    part: str
    parameters: int
    forward: int = 0
    recompute: int = 0
    activation_backward: int = 0
    weight_backward: int = 0
    bytes: int = 0

    @property
    def total(self) -> int:
        """Total FLOPs per token."""
        return self.forward + self.recompute + self.activation_backward + self.weight_backward


class _BlockParts(NamedTuple):
    """The cost of one block."""

    norms: PartCost
    linears: PartCost
    attention: PartCost


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

    def _linears_of_input(self) -> int:
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

    def parts(self, trained: TrainedParts, context: int) -> tuple[PartCost, ...]:
        """The cost of each part while `trained` is trained on sequences of `context` tokens, bottom to top."""
        embeddings, norm, head = self._parts_around_blocks(trained)
        parts = [embeddings]
        for index, role in enumerate(roles(trained)):
            block = self._block_parts(context, role, starts_graph=index == trained.cut)
            parts += [replace(part, part=f"block {index} {part.part}") for part in block]
        return (*parts, norm, head)

    def grouped_parts(self, trained: TrainedParts, context: int) -> tuple[PartCost, ...]:
        """The same cost with all blocks added up: embeddings, norms, linears, attention, head."""
        embeddings, norm, head = self._parts_around_blocks(trained)
        norms, linears, attention = [(1, norm)], [], []
        for count, block in self._counted_blocks(trained, context):
            norms.append((count, block.norms))
            linears.append((count, block.linears))
            attention.append((count, block.attention))
        blocks = (_add_up("norms", norms), _add_up("linears", linears), _add_up("attention", attention))
        return (embeddings, *blocks, head)

    def flops_per_token(self, trained: TrainedParts, context: int) -> int:
        """FLOPs per token of all parts, forward and backward, without the optimizer."""
        blocks = sum(
            count * part.total for count, block in self._counted_blocks(trained, context) for part in block
        )
        return blocks + sum(part.total for part in self._parts_around_blocks(trained))

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
        if trained.head:
            parameters += model.norm_parameters
        if trained.trains_head_matrix(tied=model.tied):
            parameters += model.table_parameters
        if trained.embeddings:
            parameters += model.position_parameters + (0 if model.tied else model.table_parameters)
        return parameters

    def optimizer_flops(self, trained: TrainedParts) -> int:
        """Pointwise FLOPs of one optimizer step, clipping included."""
        parameters = self.trainable_parameters(trained)
        flops = (self.optimizer.flops + CLIPPING_FLOPS) * parameters
        if cost := self.optimizer.block_matrices:
            in_matrices = len(trained.blocks) * self.linears_forward() // 2
            flops += (cost.flops - self.optimizer.flops) * in_matrices
        return flops

    def _counted_blocks(self, trained: TrainedParts, context: int) -> Iterator[tuple[int, _BlockParts]]:
        """How many blocks have the same cost, and that cost."""
        at_start = 1 if trained.cut is not None and trained.blocks else 0
        for role, count in role_counts(trained).items():
            yield count - at_start if role is Role.TRAINED else count, self._block_parts(context, role)
        yield at_start, self._block_parts(context, Role.TRAINED, starts_graph=True)

    def _block_parts(self, context: int, role: Role, *, starts_graph: bool = False) -> _BlockParts:
        """The cost of one block; `starts_graph` if it is the lowest that gradients enter, above a cut.

        Its input then needs no gradient. With norms after attention and MLP, the input feeds the first linears
        directly, which saves their activation backward; a norm before them needs it for its gains.
        """
        model, linears, attention = self.model, self.linears_forward(), self.attention_forward(context)
        gradients_enter = role is not Role.FORWARD
        recomputed = gradients_enter and self.activation_checkpointing
        *_, (inputs, outputs) = model.block_linears.values()
        is_post_norm = model.norm_position == "post"
        last = 0 if is_post_norm else 2 * inputs * outputs  # not computed again; a norm after it needs its output
        first = self._linears_of_input() if is_post_norm and starts_graph else 0
        normed = 2 * model.width + (model.query_width + model.key_width if model.qk_norm != "none" else 0)
        return _BlockParts(
            norms=PartCost(part="norms", parameters=model.block_norm_parameters, bytes=2 * 4 * normed),
            linears=PartCost(
                part="linears",
                parameters=model.linear_parameters,
                forward=linears,
                recompute=linears - last if recomputed else 0,
                activation_backward=linears - first if gradients_enter else 0,
                weight_backward=linears if role is Role.TRAINED else 0,
            ),
            attention=PartCost(
                part="attention",
                parameters=0,
                forward=attention,
                recompute=attention if recomputed else 0,
                activation_backward=2 * attention if gradients_enter else 0,
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


def _add_up(name: str, costs: Sequence[tuple[int, PartCost]]) -> PartCost:
    """The sum of pairs (count, cost), as one cost."""
    numbers = [field.name for field in fields(PartCost) if field.name != "part"]
    sums = {number: sum(count * getattr(cost, number) for count, cost in costs) for number in numbers}
    return PartCost(part=name, **sums)


def role_counts(trained: TrainedParts) -> dict[Role, int]:
    """How many blocks have each role."""
    forward_only = 0 if trained.cut is None else trained.cut
    return {
        Role.FORWARD: forward_only,
        Role.THROUGH: trained.depth - forward_only - len(trained.blocks),
        Role.TRAINED: len(trained.blocks),
    }


def roles(trained: TrainedParts) -> list[Role]:
    """The role of each block, bottom to top."""
    forward_only = role_counts(trained)[Role.FORWARD]
    result = [Role.FORWARD] * forward_only + [Role.THROUGH] * (trained.depth - forward_only)
    for block in trained.blocks:
        result[block] = Role.TRAINED
    return result


def phase_flops(ledger: Ledger, schedule: Schedule) -> list[int]:
    """FLOPs of each phase of a schedule in whole steps."""
    return [
        phase.steps * _flops_per_step(ledger, trained, phase.batch_tokens, phase.context)
        for phase, trained in zip(schedule.phases, schedule.trained_parts, strict=True)
    ]


@lru_cache(maxsize=4096)  # the search for a mark prices the same phases repeatedly
def _flops_per_step(ledger: Ledger, trained: TrainedParts, batch_tokens: int, context: int) -> int:
    return ledger.flops_per_step(trained, batch_tokens, context)
