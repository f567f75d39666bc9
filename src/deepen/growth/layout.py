"""Where new blocks go.

A layout lists the blocks of the grown model from bottom to top: the index of an old block, or None for a new one.
A placement makes the layout for given numbers of old and new blocks. For three old and two new ones:

    top          (0, 1, 2, None, None)
    bottom       (None, None, 0, 1, 2)
    middle       (0, 1, None, None, 2)
    interleaved  (0, 1, None, 2, None)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deepen.errors import look_up

Layout = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """A rule for where new blocks go; `arrange` takes the numbers of old and new blocks."""

    name: str
    summary: str
    arrange: Callable[[int, int], Layout]


def _top(old: int, new: int) -> Layout:
    return (*range(old), *_new(new))


def _bottom(old: int, new: int) -> Layout:
    return (*_new(new), *range(old))


def _middle(old: int, new: int) -> Layout:
    half = (old + 1) // 2
    return (*range(half), *_new(new), *range(half, old))


def _interleaved(old: int, new: int) -> Layout:
    if old == 0:
        return _new(new)
    layout: list[int | None] = []
    for block in range(old):
        above = (block + 1) * new // old - block * new // old
        layout += [block, *_new(above)]
    return tuple(layout)


def _new(count: int) -> tuple[None, ...]:
    return (None,) * count


PLACEMENTS: Mapping[str, Placement] = {
    placement.name: placement
    for placement in (
        Placement(name="top", summary="above all old blocks", arrange=_top),
        Placement(name="bottom", summary="below all old blocks", arrange=_bottom),
        Placement(name="middle", summary="between the lower and the upper half", arrange=_middle),
        Placement(name="interleaved", summary="spread evenly, each above an old block", arrange=_interleaved),
    )
}
"""All placements by name. To add one, write its function above and add an entry."""


def get_placement(name: str) -> Placement:
    """A placement by name.

    Raises:
        InvalidValueError: the name is unknown.
    """
    return look_up(PLACEMENTS, name, field="placement")


def find_new_blocks(layout: Layout) -> tuple[int, ...]:
    """Indices of the new blocks of a layout."""
    return tuple(index for index, block in enumerate(layout) if block is None)
