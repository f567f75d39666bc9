"""What the numbers of a study must be: its shares of the budget, seeds, earlier budgets and depths."""

from collections.abc import Sequence

from deepen.errors import InvalidValueError, is_number, is_whole, listed

MAX_SEED = 2**32 - 1


def check_anchors(anchors: Sequence[float]) -> None:
    """Raise an InvalidValueError unless these are shares of a budget, and its whole is one of them."""
    if 1.0 not in anchors or not _are_shares(anchors):
        raise InvalidValueError(
            f"are {listed(anchors)}: they must be numbers above 0 and include 1.0, the budget at which arms are "
            "compared",
            field="anchors",
            value=anchors,
        )


def check_continual_shares(shares: Sequence[float]) -> None:
    """Raise an InvalidValueError unless these are shares of a budget."""
    if not _are_shares(shares):
        raise InvalidValueError(
            f"are {listed(shares)}: they must be numbers above 0", field="continual_shares", value=shares
        )


def _are_shares(values: Sequence[float]) -> bool:
    return all(is_number(value) and value > 0 for value in values)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise an InvalidValueError unless these are different seeds, and at least one."""
    if not all(is_whole(seed) and 0 <= seed <= MAX_SEED for seed in seeds):
        raise InvalidValueError(
            f"are {listed(seeds)}: each must be a whole number, at least 0 and below {MAX_SEED + 1:,}",
            field="seeds",
            value=seeds,
        )
    if not seeds or len(set(seeds)) != len(seeds):
        raise InvalidValueError(
            f"are {listed(seeds)}: give at least one, and each only once", field="seeds", value=seeds
        )


def check_earlier_tokens(earlier: Sequence[int], tokens: int, batch_tokens: int) -> None:
    """Raise an InvalidValueError unless these are rising budgets, of a step or more, below `tokens`."""
    is_rising = all(map(is_whole, earlier)) and list(earlier) == sorted(set(earlier))
    if not is_rising or not all(batch_tokens <= each < tokens for each in earlier):
        raise InvalidValueError(
            f"are {listed(earlier)}: they must be whole numbers that rise from at least one step to less than "
            f"`tokens` {tokens:,}",
            field="earlier_tokens",
            value=earlier,
        )


def check_depths(depths: Sequence[int], highest: int) -> None:
    """Raise an InvalidValueError unless these are different depths up to the highest."""
    if not all(is_whole(depth) and 0 <= depth <= highest for depth in depths):
        raise InvalidValueError(
            f"are {listed(depths)}: they must be whole numbers up to the model's depth {highest}",
            field="depths",
            value=depths,
        )
    if len(set(depths)) != len(depths):
        raise InvalidValueError(f"are {listed(depths)}: give each only once", field="depths", value=depths)
