"""When each seed of an arm grew whose growth waited for a plateau of the loss, in sentences."""

from collections.abc import Sequence

from deepen.report.units import count, counted
from deepen.study.results.schema import ArmResult, GrowthResult

_REASONS = {"plateau": "on a plateau", "latest": "at the latest end"}


def describe_depths(growth: GrowthResult) -> str:
    """The depths before and after; of layers that shared blocks, the number of stored blocks."""
    if growth.depth_before != growth.depth_after or growth.blocks_after is None:
        return f"from {growth.depth_before} to {counted(growth.depth_after, 'block')}"
    blocks = counted(growth.blocks_after, "block")
    return f"from {growth.blocks_before} to {blocks} in {counted(growth.depth_after, 'layer')}"


def describe_decided_growths(name: str, seeds: Sequence[ArmResult]) -> list[str]:
    """A sentence for each growth of an arm that training decided, with the tokens of each seed.

    Args:
        name: the arm's name, as it is shown.
        seeds: the arm with each seed.
    """
    sentences = []
    for nth in range(max((len(arm.growths) for arm in seeds), default=0)):
        grown = [(arm.seed, arm.growths[nth]) for arm in seeds if nth < len(arm.growths)]
        if not any(growth.trigger in _REASONS for _, growth in grown):
            continue
        times = "; ".join(
            f"seed {seed} after {count(growth.tokens)} tokens, {_REASONS.get(growth.trigger, 'by its recipe')}"
            for seed, growth in grown
        )
        first = grown[0][1]
        sentences.append(f"{name} grew {describe_depths(first)}: {times}.")
    return sentences
