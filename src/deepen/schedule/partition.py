"""How L blocks are shared out over S stages."""

from itertools import pairwise

POLICIES = ("spread", "front", "back", "floor")


def partition(depth: int, stages: int, policy: str = "spread") -> tuple[int, ...]:
    """Blocks added at each stage.

    Args:
        depth: blocks in all.
        stages: number of stages.
        policy: `spread` (boundaries rounded half up: 12 in 8 is 2,1,2,1,2,1,2,1), `front` (larger stages
            first), `back` (larger stages last), `floor` (the remainder is dropped, as the released code of
            Li, Fung & Huang does: its S = 8 model has 8 layers), or an explicit list such as `6,3,3`.
    """
    if policy[:1].isdigit():
        return _explicit(depth, stages, policy)
    if policy not in POLICIES:
        raise ValueError(f"partition {policy!r} is unknown: use {', '.join(POLICIES)} or a list such as 6,3,3")
    if not 1 <= stages <= depth:
        raise ValueError(f"stages is {stages}, but {depth} blocks fit into 1 to {depth} stages")
    size, larger = divmod(depth, stages)
    if policy == "floor":
        return (size,) * stages
    if policy == "front":
        return (size + 1,) * larger + (size,) * (stages - larger)
    if policy == "back":
        return (size,) * (stages - larger) + (size + 1,) * larger
    bounds = [(2 * stage * depth + stages) // (2 * stages) for stage in range(stages + 1)]
    return tuple(upper - lower for lower, upper in pairwise(bounds))


def _explicit(depth: int, stages: int, text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        raise ValueError(f"partition {text!r} is not a list of whole numbers such as 6,3,3") from None
    if min(sizes) < 1 or sum(sizes) != depth or len(sizes) != stages:
        raise ValueError(
            f"partition {text} has {len(sizes)} stages and {sum(sizes)} blocks: "
            f"give {stages} sizes of at least 1 that add up to {depth}"
        )
    return sizes
