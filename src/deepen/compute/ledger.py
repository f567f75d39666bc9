"""The ledger: exact FLOPs of training, per part and direction. A multiply-add counts 2.

Counted are the matrix products, as `torch.utils.flop_counter.FlopCounterMode` counts them: the linears of
each block, the attention core (the dense convention: all context², causal or not), and the head. Embeddings,
norms and pointwise operations cost 0; the optimizer is not part of it.

What a part costs in a phase follows from three questions: does the forward pass run (always), do gradients
run *through* it (activation backward), do gradients run *to its weights* (weight backward)? Each is as dear
as the forward pass of a linear. The attention core has no weights and two operands that both need gradients:
its activation backward costs two forward passes, its weight backward nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deepen.growth.operators import growth_layout
from deepen.growth.placement import new_blocks_by_phase
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase, Schedule, Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCost:
    """FLOPs per token of one part: a block's linears, a block's attention core, or the head."""

    part: str
    forward: int
    activation_backward: int
    weight_backward: int

    @property
    def total(self) -> int:
        """FLOPs per token in all."""
        return self.forward + self.activation_backward + self.weight_backward


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """The account of a model's training.

    Args:
        model: the model; phases say how many of its blocks exist.
        causal_exact: count only the half of the attention core that a causal mask leaves, (context + 1) / 2
            keys per query on average, instead of all context. No kernel reaches it; it is the lower bound.
    """

    model: ModelConfig
    causal_exact: bool = False

    def linears_forward(self) -> int:
        """FLOPs per token of one block's linears, forward."""
        return 2 * 12 * self.model.width**2

    def attention_forward(self, context: int) -> int:
        """FLOPs per token of one block's attention core, forward: queries × keys, then weights × values."""
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
        everything = phase.train is Scope.ALL
        trained = set(range(phase.depth)) if everything else set(new_blocks)
        lowest = 0 if phase.train.trains_embeddings else min(trained, default=phase.depth)
        linears, attention = self.linears_forward(), self.attention_forward(phase.context)
        parts = []
        for block in range(phase.depth):
            through, to_weights = int(block >= lowest), int(block in trained)
            parts += [
                PartCost(
                    part=f"block {block} linears",
                    forward=linears,
                    activation_backward=through * linears,
                    weight_backward=to_weights * linears,
                ),
                PartCost(
                    part=f"block {block} attention",
                    forward=attention,
                    activation_backward=through * 2 * attention,
                    weight_backward=0,
                ),
            ]
        head = self.head_forward()
        parts.append(
            PartCost(
                part="head",
                forward=head,
                activation_backward=head,
                weight_backward=phase.train.trains_head * head,
            )
        )
        return tuple(parts)

    def flops_per_token(self, phase: Phase, new_blocks: Sequence[int]) -> int:
        """FLOPs per token of a phase, forward and backward."""
        return sum(part.total for part in self.parts(phase, new_blocks))

    def trainable_parameters(self, phase: Phase, new_blocks: Sequence[int]) -> int:
        """Parameters that receive updates in a phase."""
        width = self.model.width
        blocks = phase.depth if phase.train is Scope.ALL else len(new_blocks)
        head = (self.model.vocab * width + 2 * width) * phase.train.trains_head
        positions = self.model.context * width * phase.train.trains_embeddings
        return blocks * self.model.block_parameters + head + positions


def new_blocks_of(schedule: Schedule) -> list[tuple[int, ...]]:
    """For each phase of a schedule, the indices of the blocks added last."""
    growth = schedule.growth
    return new_blocks_by_phase(
        [phase.depth for phase in schedule.phases],
        lambda old, new: growth_layout(growth.operator, growth.placement, old, new),
    )


def phase_flops(ledger: Ledger, schedule: Schedule) -> list[int]:
    """FLOPs of each phase of a schedule that is already in whole steps."""
    return [
        phase.tokens * ledger.flops_per_token(phase, blocks)
        for phase, blocks in zip(schedule.phases, new_blocks_of(schedule), strict=True)
    ]
