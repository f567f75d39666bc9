"""How the blocks of a model are divided into stages.

    partition(12, 8, "spread")   # (2, 1, 2, 1, 2, 1, 2, 1)
    partition(12, 8, "front")    # (2, 2, 2, 2, 1, 1, 1, 1)
    partition(12, 3, "6,3,3")    # (6, 3, 3)

To add a policy, write its function and an entry in `POLICIES`.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

from deepen.errors import InvalidValueError, join_or


def partition(depth: int, stages: int, policy: str = "spread") -> tuple[int, ...]:
    """The number of blocks added at each stage.

    Args:
        depth: total number of blocks.
        stages: number of stages.
        policy: a name in `POLICIES`, or an explicit list such as `6,3,3`.

    Raises:
        InvalidValueError: the policy is unknown or does not fit.
    """
    if policy[:1].isdigit():
        return _read_sizes(depth, stages, policy)
    if policy not in POLICIES:
        raise InvalidValueError(
            f"{policy!r} is unknown",
            field="partition",
            value=policy,
            remedy=f"use {', '.join(POLICIES)} or a list such as 6,3,3",
            allowed=POLICIES,
        )
    if not 1 <= stages <= depth:
        raise InvalidValueError(
            f"is {stages}, but {depth} blocks fit into 1 to {depth} stages", field="stages", value=stages
        )
    return POLICIES[policy](depth, stages)


def _spread(depth: int, stages: int) -> tuple[int, ...]:
    """Larger stages spread evenly: the boundaries are rounded, halves up."""
    bounds = [(2 * stage * depth + stages) // (2 * stages) for stage in range(stages + 1)]
    return tuple(upper - lower for lower, upper in pairwise(bounds))


def _front(depth: int, stages: int) -> tuple[int, ...]:
    """Larger stages first."""
    size, larger = divmod(depth, stages)
    return (size + 1,) * larger + (size,) * (stages - larger)


def _back(depth: int, stages: int) -> tuple[int, ...]:
    """Larger stages last."""
    return _front(depth, stages)[::-1]


def _even(depth: int, stages: int) -> tuple[int, ...]:
    """Equal stages, which must divide the blocks."""
    if depth % stages:
        divisors = [str(count) for count in range(1, depth + 1) if depth % count == 0]
        spread = ",".join(map(str, _spread(depth, stages)))
        raise InvalidValueError(
            f"is {stages}, which does not divide {depth} blocks into equal stages",
            field="stages",
            value=stages,
            remedy=f"use `partition` spread ({spread}), or `stages` {join_or(divisors)}",
        )
    return _floor(depth, stages)


def _floor(depth: int, stages: int) -> tuple[int, ...]:
    """Equal stages without the remainder, as in the released code of Li, Fung & Huang."""
    return (depth // stages,) * stages


POLICIES: Mapping[str, Callable[[int, int], tuple[int, ...]]] = {
    "spread": _spread,
    "front": _front,
    "back": _back,
    "even": _even,
    "floor": _floor,
}
"""All policies by name: functions of depth and stages that return the sizes."""


def _read_sizes(depth: int, stages: int, text: str) -> tuple[int, ...]:
    """Parse an explicit list of sizes."""
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        raise InvalidValueError(
            f"{text!r} is not a list of whole numbers such as 6,3,3", field="partition", value=text
        ) from None
    if min(sizes) < 1 or sum(sizes) != depth or len(sizes) != stages:
        raise InvalidValueError(
            f"{text} has {len(sizes)} stages and {sum(sizes)} blocks",
            field="partition",
            value=text,
            remedy=f"give {stages} sizes of at least 1 that add up to {depth}",
        )
    return sizes
