"""The ledger: exact FLOPs of training, for each part of a model and each direction. A multiply-add counts 2.

It counts the matrix products, as `torch.utils.flop_counter.FlopCounterMode` does: the linears of each block, the
attention core (densely: all context² products, causal or not) and the head. Embeddings, norms and pointwise
operations cost no FLOPs; their memory traffic is given in bytes. The optimizer's FLOPs are kept separate.

What a part costs follows from three questions. Does the forward pass run? Always. Do gradients run *through* the
part (activation backward)? Do gradients run *to its weights* (weight backward)? Each costs a linear as much as its
forward pass. With blocks 2 and 3 of four trained alone, the linears of each block cost, in forward passes:

    block 3   trained        forward 1, activation backward 1, weight backward 1
    block 2   trained        forward 1, activation backward 1, weight backward 1
    block 1   forward only   forward 1
    block 0   forward only   forward 1

If the embeddings were trained too, gradients would run through blocks 0 and 1: activation backward 1 each.

The attention core has no weights but two operands that both need gradients: its activation backward costs two
forward passes, its weight backward nothing. With activation checkpointing, a block that gradients enter runs
forward again up to its last linear, whose output the backward pass does not need.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.model.config import ModelConfig
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
        part: its name.
        parameters: how many it has.
        forward, recompute, activation_backward, weight_backward: FLOPs per token.
        bytes: what the forward pass of a part without FLOPs reads and writes per token, activations and table rows
            in fp32.
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
        """FLOPs per token in all."""
        return self.forward + self.recompute + self.activation_backward + self.weight_backward


CLIPPING_FLOPS = 3
"""Per trained parameter and step: 2 for the gradient's norm, 1 for clipping it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What training a model costs.

    Args:
        model: the model at its final depth; `TrainedParts` give the depth at hand.
        causal_exact: count only the part of the attention core that a causal mask leaves, (context + 1) / 2 keys
            per query on average, instead of all. It is a lower bound that no kernel reaches.
        activation_checkpointing: blocks store their input alone and run forward again in the backward pass.
        optimizer: FLOPs of an update.
    """

    model: ModelConfig
    causal_exact: bool = False
    activation_checkpointing: bool = False
    optimizer: OptimizerCost = ADAMW_COST

    def linears_forward(self) -> int:
        """FLOPs per token of one block's linears, forward."""
        return 2 * sum(inputs * outputs for inputs, outputs in self.model.block_linears.values())

    def attention_forward(self, context: int) -> int:
        """FLOPs per token of one block's attention core, forward: queries × keys, then weights × values.

        Every query head computes products of its own, even where heads share keys.
        """
        keys_twice = context + 1 if self.causal_exact else 2 * context
        return 2 * keys_twice * self.model.width

    def head_forward(self) -> int:
        """FLOPs per token of the head, forward."""
        return 2 * self.model.width * self.model.vocab

    def parts(self, trained: TrainedParts, context: int) -> tuple[PartCost, ...]:
        """The cost of each part while `trained` is trained on sequences of `context` tokens, bottom to top."""
        blocks = (
            part
            for index, role in enumerate(roles(trained))
            for part in self._block_parts(f"block {index} ", context, role)
        )
        embeddings, *above = self._around(trained)
        return (embeddings, *blocks, *above)

    def grouped_parts(self, trained: TrainedParts, context: int) -> tuple[PartCost, ...]:
        """The same with all blocks added up: embeddings, norms, linears, attention, head."""
        embeddings, norm, head = self._around(trained)
        groups = [(count, self._block_parts("", context, role)) for role, count in role_counts(trained).items()]

        def add_up(name: str, at: int, *more: PartCost) -> PartCost:
            costs = [(count, parts[at]) for count, parts in groups] + [(1, part) for part in more]
            fields = ("parameters", "forward", "recompute", "activation_backward", "weight_backward", "bytes")
            sums = {f: sum(count * getattr(cost, f) for count, cost in costs) for f in fields}
            return PartCost(part=name, **sums)

        return (
            embeddings,
            add_up("norms", 0, norm),
            add_up("linears", 1),
            add_up("attention", 2),
            head,
        )

    def flops_per_token(self, trained: TrainedParts, context: int) -> int:
        """FLOPs per token, forward and backward, of all parts; the optimizer's are separate."""
        blocks = (
            count * part.total
            for role, count in role_counts(trained).items()
            for part in self._block_parts("", context, role)
        )
        return sum(blocks) + sum(part.total for part in self._around(trained))

    def trainable_parameters(self, trained: TrainedParts) -> int:
        """Parameters that receive updates."""
        model = self.model
        table = model.vocab * model.width
        return (
            len(trained.blocks) * model.block_parameters
            + model.norm_parameters * trained.head
            + table * trained.head_matrix(tied=model.tied)
            + (model.position_parameters + table * (not model.tied)) * trained.embeddings
        )

    def optimizer_flops(self, trained: TrainedParts) -> int:
        """FLOPs of one optimizer step, clipping included."""
        return (self.optimizer.flops + CLIPPING_FLOPS) * self.trainable_parameters(trained)

    def _block_parts(self, prefix: str, context: int, role: Role) -> tuple[PartCost, PartCost, PartCost]:
        """The norms, linears and attention core of one block."""
        model, linears, attention = self.model, self.linears_forward(), self.attention_forward(context)
        through, trained = role is not Role.FORWARD, role is Role.TRAINED
        again = through and self.activation_checkpointing
        *_, (inputs, outputs) = model.block_linears.values()  # the last one's output is not needed again
        return (
            PartCost(part=f"{prefix}norms", parameters=2 * model.norm_parameters, bytes=2 * 2 * 4 * model.width),
            PartCost(
                part=f"{prefix}linears",
                parameters=model.linear_parameters,
                forward=linears,
                recompute=again * (linears - 2 * inputs * outputs),
                activation_backward=through * linears,
                weight_backward=trained * linears,
            ),
            PartCost(
                part=f"{prefix}attention",
                parameters=0,
                forward=attention,
                recompute=again * attention,
                activation_backward=through * 2 * attention,
            ),
        )

    def _around(self, trained: TrainedParts) -> tuple[PartCost, PartCost, PartCost]:
        """The embeddings, the final norm and the head; gradients always run through the head."""
        model, head = self.model, self.head_forward()
        table = model.vocab * model.width
        rows = 2 if model.position_parameters else 1
        return (
            PartCost(
                part="embeddings",
                parameters=table + model.position_parameters,
                bytes=(rows + 1) * 4 * model.width,
            ),
            PartCost(part="final norm", parameters=model.norm_parameters, bytes=2 * 4 * model.width),
            PartCost(
                part="head",
                parameters=0 if model.tied else table,
                forward=head,
                activation_backward=head,
                weight_backward=trained.head_matrix(tied=model.tied) * head,
            ),
        )


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
    flops: list[int] = []
    price, priced = 0, None
    for phase, trained in zip(schedule.phases, schedule.trained_parts, strict=True):
        if (trained, phase.context) != priced:  # phases of a kind follow one another
            priced = trained, phase.context
            price = _flops_per_token(ledger, trained, phase.context)
        flops.append(phase.tokens * price)
    return flops


@lru_cache(maxsize=4096)  # the search for a mark prices the same phases again and again
def _flops_per_token(ledger: Ledger, trained: TrainedParts, context: int) -> int:
    return ledger.flops_per_token(trained, context)
