"""Where new blocks go.

A layout lists the blocks of the grown model from bottom to top: the index of an old block, or None for a new one.
A placement makes the layout for given numbers of old and new blocks. For three old and two new ones:

    top           (0, 1, 2, None, None)
    bottom        (None, None, 0, 1, 2)
    middle        (0, 1, None, None, 2)
    interleaved   (0, 1, None, 2, None)
    above-middle  (0, 1, None, None, 2)

A layout can also be given block by block, as `parse_layout` reads it: "0-3,2-5" makes eight blocks of six, of
which the fifth and the sixth are copies of blocks 2 and 3.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from deepen.errors import InvalidValueError, look_up

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


def _above_middle(old: int, new: int) -> Layout:
    end = find_middle_group(old, new).stop
    return (*range(end), *_new(new), *range(end, old))


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
        Placement(
            name="above-middle", summary="above the middle group of as many old blocks", arrange=_above_middle
        ),
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


def find_middle_group(old: int, size: int) -> range:
    """The `size` blocks in the middle of `old` ones; all of them if there are fewer.

    Where the old blocks are whole groups of this size, it is one of these groups, the lower of two in the middle.
    """
    if size >= old:
        return range(old)
    begin = (old - size) // 2
    if size and old % size == 0:
        begin -= begin % size
    return range(begin, begin + size)


@dataclass(frozen=True, kw_only=True, slots=True)
class GrownBlock:
    """A block of a grown model.

    Attributes:
        source: the block before growth whose weights it has; None if its weights are fresh.
        is_new: whether it was added. A block that was not is its source, unchanged.
        residual_scale: factor of the block's output. It multiplies `ModelConfig.zero_parameters`: weights and
            biases of the output projections, or the gains of norms that follow them. With 0 it is an identity.
        upper_source, upper_share: a second block before growth, and its share of the weights, which are then
            (1 - share) · source + share · second; None and 0 if there is none.
    """

    source: int | None
    is_new: bool
    residual_scale: float = 1.0
    upper_source: int | None = None
    upper_share: float = 0.0

    @property
    def zero_output(self) -> bool:
        """Whether it adds nothing to the residual stream."""
        return self.residual_scale == 0

    @property
    def is_copy(self) -> bool:
        """Whether it was added as a copy of one block."""
        return self.is_new and self.source is not None and self.upper_source is None


MAX_LAYOUT = 10_000
"""The most blocks that a layout can have."""
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def parse_layout(text: str) -> tuple[int, ...]:
    """Read ranges of blocks, both ends included: "0-3,2-5" is (0, 1, 2, 3, 2, 3, 4, 5).

    Raises:
        InvalidValueError: it is not a list of blocks and ranges.
    """
    layout: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if first <= last and len(layout) + last - first >= MAX_LAYOUT:
            raise InvalidValueError(f"has more than {MAX_LAYOUT:,} blocks", field="layout", value=text)
        if first > last:
            raise InvalidValueError(
                f"is {text!r}: {part!r} is not a block or a range",
                field="layout",
                value=text,
                remedy="write ranges from bottom to top, both ends included, such as 0-23,8-31",
            )
        layout += range(first, last + 1)
    return tuple(layout)


def describe_layout(layout: Sequence[int]) -> str:
    """A layout as ranges; the opposite of `parse_layout`."""
    ranges: list[list[int]] = []
    for block in layout:
        if ranges and block == ranges[-1][1] + 1:
            ranges[-1][1] = block
        else:
            ranges.append([block, block])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def describe_blocks(blocks: Sequence[GrownBlock]) -> str:
    """What each block of a grown model is made from, as ranges: "0-5,3-8", "0-5,fresh x 2", "0,0:1 50%,1"."""
    parts = []
    for fresh, run in groupby(blocks, key=lambda block: block.source is None):
        of_run = list(run)
        parts.append(f"fresh x {len(of_run)}" if fresh else _describe_sources(of_run))
    return ",".join(parts)


def _describe_sources(blocks: Sequence[GrownBlock]) -> str:
    parts = []
    for upper, run in groupby(blocks, key=lambda block: (block.upper_source, block.upper_share)):
        sources = [block.source for block in run if block.source is not None]
        if upper[0] is None:
            parts.append(describe_layout(sources))
        else:
            parts += [f"{source}:{upper[0]} {upper[1]:.0%}" for source in sources]
    return ",".join(parts)


def count_blocks(n: int) -> str:
    """A number of blocks: 1 block, 24 blocks."""
    return f"{n} block" if n == 1 else f"{n} blocks"


def follow_layout(layout: Sequence[int], old: int, *, residual_scale: float = 1.0) -> tuple[GrownBlock, ...]:
    """The blocks of a model that grows by a layout: where a block is repeated, all but the first are new.

    Args:
        layout: for each block, from bottom to top, the block before growth that it has its weights from.
        old: blocks before growth.
        residual_scale: factor of the output of new blocks.

    Raises:
        InvalidValueError: there is no such block, or the layout is not deeper than the model.
    """
    if beyond := [block for block in layout if not 0 <= block < old]:
        raise InvalidValueError(
            f"has block {beyond[0]}, but the model has {count_blocks(old)}",
            field="layout",
            remedy=f"use 0 to {old - 1}" if old > 1 else "use 0",
        )
    if len(layout) <= old:
        raise InvalidValueError(
            f"has {count_blocks(len(layout))}, but the model has {old} already: growth only adds", field="layout"
        )
    seen: set[int] = set()
    blocks = []
    for block in layout:
        is_new = block in seen
        scale = residual_scale if is_new else 1.0
        blocks.append(GrownBlock(source=block, is_new=is_new, residual_scale=scale))
        seen.add(block)
    return tuple(blocks)
