"""The ledger: exact FLOPs of training, per part and direction. A multiply-add counts 2.

Counted are the matrix products, as `torch.utils.flop_counter.FlopCounterMode` counts them: the linears of
each block, the attention core (the dense convention: all context², causal or not), and the head. Embeddings,
norms and pointwise operations cost no FLOPs but memory traffic, told in bytes; the optimizer stands apart.

What a part costs in a phase follows from three questions: does the forward pass run (always), do gradients
run *through* it (activation backward), do gradients run *to its weights* (weight backward)? Each is as dear
as the forward pass of a linear. The attention core has no weights and two operands that both need gradients:
its activation backward costs two forward passes, its weight backward nothing. With activation checkpointing a
block that gradients enter runs forward again, up to its last linear, whose output nothing needs.
"""

from dataclasses import dataclass
from enum import StrEnum

from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Schedule
from deepen.schedule.trainable import TrainedParts


class Role(StrEnum):
    """What a phase does with a block."""

    FORWARD = "forward only"
    THROUGH = "gradients run through"
    TRAINED = "trained"


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCost:
    """One part: a block's linears, attention core or norms, the embeddings, the final norm, or the head.

    `forward`, `recompute`, `activation_backward`, `weight_backward` are FLOPs per token. `bytes` is what the
    forward pass of a part without FLOPs reads and writes per token, activations and table rows in fp32.
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
"""Per trained parameter and step: the gradient's norm 2 and its clipping 1. No matrix products, so separate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The account of a model's training.

    Args:
        model: the model; phases say how many of its blocks exist.
        causal_exact: count only the half of the attention core that a causal mask leaves, (context + 1) / 2
            keys per query on average, instead of all context. No kernel reaches it; it is the lower bound.
        activation_checkpointing: blocks store their input alone and run forward again.
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

        Every query head has products of its own, however few key heads there are.
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
        """Norms, linears and attention core of a block in a role."""
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
        """Embeddings, final norm, head; gradients always run through the head."""
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
    """FLOPs of each phase of a schedule that is already in whole steps."""
    flops: list[int] = []
    last: tuple[TrainedParts, int] | None = None
    price = 0
    for phase, trained in zip(schedule.phases, schedule.trained_parts, strict=True):
        if last is None or trained is not last[0] or phase.context != last[1]:
            last, price = (trained, phase.context), ledger.flops_per_token(trained, phase.context)
        flops.append(phase.tokens * price)
    return flops
