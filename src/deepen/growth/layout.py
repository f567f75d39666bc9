"""Where new blocks go: a layout lists, bottom to top, the old block at each place or None for a new one."""

from collections.abc import Callable, Sequence

Layout = tuple[int | None, ...]

PLACEMENTS = ("top", "bottom", "middle", "interleaved")


def layout(old: int, new: int, placement: str) -> Layout:
    """The layout of `old` blocks with `new` ones added.

    `interleaved` spreads the new blocks evenly, each above an old one: 2 → 4 is (0, None, 1, None).
    """
    kept: tuple[int | None, ...] = tuple(range(old))
    fresh: tuple[int | None, ...] = (None,) * new
    if placement == "top":
        return kept + fresh
    if placement == "bottom":
        return fresh + kept
    if placement == "middle":
        return kept[: (old + 1) // 2] + fresh + kept[(old + 1) // 2 :]
    if placement == "interleaved":
        spread: list[int | None] = []
        for block in range(old):
            spread.append(block)
            spread += [None] * ((block + 1) * new // old - block * new // old)
        return tuple(spread) if old else fresh
    raise ValueError(f"placement {placement!r} is unknown: use {', '.join(PLACEMENTS)}")


def new_blocks(places: Layout) -> tuple[int, ...]:
    """Indices of the new blocks."""
    return tuple(index for index, block in enumerate(places) if block is None)


def new_blocks_by_phase(depths: Sequence[int], lay: Callable[[int, int], Layout]) -> list[tuple[int, ...]]:
    """For each phase of a schedule, the indices of the blocks that were added last.

    Args:
        depths: depth of each phase, not falling.
        lay: the layout of (old, new) blocks.
    """
    result: list[tuple[int, ...]] = []
    before, newest = 0, tuple(range(depths[0]))
    for depth in depths:
        if result and depth > before:
            newest = new_blocks(lay(before, depth - before))
        result.append(newest)
        before = depth
    return result
