"""When each seed of an arm grew whose growth waited for a plateau of the loss, in sentences."""

from collections.abc import Sequence

from deepen.report.units import count, counted
from deepen.study.results.schema import ArmResult

_REASONS = {"plateau": "on a plateau", "latest": "at the latest end"}


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
        sentences.append(
            f"{name} grew from {first.depth_before} to {counted(first.depth_after, 'block')}: {times}."
        )
    return sentences
