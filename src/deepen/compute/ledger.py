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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import repeat

from deepen.compute.optimizer_cost import ADAMW_COST, OptimizerCost
from deepen.growth.layout import new_blocks_by_phase
from deepen.growth.operators import growth_layout
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase, Schedule, Scope


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
"""Per trained parameter and step: the gradient's norm 2 and its clipping 1. No matrix products, so apart."""


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

    def parts(self, phase: Phase, new_blocks: Sequence[int]) -> tuple[PartCost, ...]:
        """The cost of each part in a phase, bottom to top.

        Args:
            phase: depth, scope and context (tokens do not matter).
            new_blocks: indices of the blocks added last, which a partial scope trains.
        """
        blocks = (
            part
            for index, role in enumerate(roles(phase, new_blocks))
            for part in self._block_parts(f"block {index} ", phase.context, role)
        )
        embeddings, *above = self._around(phase)
        return (embeddings, *blocks, *above)

    def phase_parts(self, phase: Phase, new_blocks: Sequence[int]) -> tuple[PartCost, ...]:
        """The same, blocks taken together: embeddings, norms, linears, attention, head."""
        embeddings, norm, head = self._around(phase)
        groups = [
            (count, self._block_parts("", phase.context, role))
            for role, count in role_counts(phase, new_blocks).items()
        ]

        def together(name: str, at: int, *more: PartCost) -> PartCost:
            costs = [(count, parts[at]) for count, parts in groups] + [(1, part) for part in more]
            fields = ("parameters", "forward", "recompute", "activation_backward", "weight_backward", "bytes")
            sums = {f: sum(count * getattr(cost, f) for count, cost in costs) for f in fields}
            return PartCost(part=name, **sums)

        return (
            embeddings,
            together("norms", 0, norm),
            together("linears", 1),
            together("attention", 2),
            head,
        )

    def flops_per_token(self, phase: Phase, new_blocks: Sequence[int]) -> int:
        """FLOPs per token of a phase, forward and backward, in all; the optimizer's are apart."""
        blocks = (
            count * part.total
            for role, count in role_counts(phase, new_blocks).items()
            for part in self._block_parts("", phase.context, role)
        )
        return sum(blocks) + sum(part.total for part in self._around(phase))

    def trainable_parameters(self, phase: Phase, new_blocks: Sequence[int]) -> int:
        """Parameters that receive updates in a phase."""
        model, scope = self.model, phase.train
        blocks = phase.depth if scope is Scope.ALL else len(new_blocks)
        table = model.vocab * model.width
        return (
            blocks * model.block_parameters
            + (model.norm_parameters + table) * scope.trains_head
            + (model.position_parameters + table * (not model.tied)) * scope.trains_embeddings
        )

    def optimizer_flops(self, phase: Phase, new_blocks: Sequence[int]) -> int:
        """FLOPs of one optimizer step in a phase, clipping included."""
        return (self.optimizer.flops + CLIPPING_FLOPS) * self.trainable_parameters(phase, new_blocks)

    def _block_parts(self, prefix: str, context: int, role: Role) -> tuple[PartCost, PartCost, PartCost]:
        """Norms, linears and attention core of a block in a role."""
        model, linears, attention = self.model, self.linears_forward(), self.attention_forward(context)
        through, trained = role is not Role.FORWARD, role is Role.TRAINED
        again = through and self.activation_checkpointing
        inputs, outputs = model.block_linears["mlp.down"]
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

    def _around(self, phase: Phase) -> tuple[PartCost, PartCost, PartCost]:
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
                weight_backward=phase.train.trains_head * head,
            ),
        )


def role_counts(phase: Phase, new_blocks: Sequence[int]) -> dict[Role, int]:
    """How many blocks of a phase have each role."""
    if phase.train is Scope.ALL:
        return {Role.FORWARD: 0, Role.THROUGH: 0, Role.TRAINED: phase.depth}
    lowest = 0 if phase.train.trains_embeddings else min(new_blocks, default=phase.depth)
    trained = len(new_blocks)
    return {Role.FORWARD: lowest, Role.THROUGH: phase.depth - lowest - trained, Role.TRAINED: trained}


def roles(phase: Phase, new_blocks: Sequence[int]) -> Iterator[Role]:
    """The role of each block of a phase, bottom to top."""
    if phase.train is Scope.ALL:
        return repeat(Role.TRAINED, phase.depth)
    lowest, trained = role_counts(phase, new_blocks)[Role.FORWARD], set(new_blocks)
    below = (Role.FORWARD if block < lowest else Role.THROUGH for block in range(phase.depth))
    return (Role.TRAINED if block in trained else role for block, role in enumerate(below))


def new_blocks_per_phase(schedule: Schedule) -> list[tuple[int, ...]]:
    """For each phase of a schedule, the indices of the blocks added last."""
    growth = schedule.growth
    return _new_blocks(tuple(phase.depth for phase in schedule.phases), growth.operator, growth.placement)


@lru_cache(maxsize=16)  # a search for a mark asks again and again for the same depths
def _new_blocks(depths: tuple[int, ...], operator: str, placement: str) -> list[tuple[int, ...]]:
    return new_blocks_by_phase(depths, lambda old, new: growth_layout(operator, placement, old, new))


def phase_flops(ledger: Ledger, schedule: Schedule) -> list[int]:
    """FLOPs of each phase of a schedule that is already in whole steps."""
    prices: dict[tuple[int, Scope, int, tuple[int, ...]], int] = {}  # phases of a kind have one price
    flops = []
    for phase, blocks in zip(schedule.phases, new_blocks_per_phase(schedule), strict=True):
        kind = (phase.depth, phase.train, phase.context, blocks)
        if kind not in prices:
            prices[kind] = ledger.flops_per_token(phase, blocks)
        flops.append(phase.tokens * prices[kind])
    return flops
