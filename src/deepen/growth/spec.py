"""How a model becomes deeper, as a value: operator, placement and moment policy by name."""

from dataclasses import dataclass

from deepen.growth.layout import GrownBlock, Layout, get_placement
from deepen.growth.moments import get_moment_policy
from deepen.growth.operators import NewBlock, get_operator


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How a model becomes deeper where a schedule's depth rises.

    Attributes:
        operator: how new blocks get their weights, one of `OPERATORS`.
        placement: where new blocks go, one of `PLACEMENTS`; empty means the operator's default.
        moments: what happens to the optimizer's moments, one of `MOMENT_POLICIES`.
    """

    operator: str = "random"
    placement: str = ""
    moments: str = "keep"

    def __post_init__(self) -> None:
        operator = get_operator(self.operator)
        if not self.placement:
            object.__setattr__(self, "placement", operator.placement)
        get_placement(self.placement)
        get_moment_policy(self.moments)

    def layout(self, old: int, new: int) -> Layout:
        """The layout of `old` blocks with `new` ones added."""
        return get_placement(self.placement).arrange(old, new)

    def blocks(self, old: int, new: int) -> tuple[GrownBlock, ...]:
        """What each block of a model of `old` blocks is after `new` ones were added, from bottom to top."""
        operator, layout = get_operator(self.operator), self.layout(old, new)
        blocks: list[GrownBlock] = []
        new_below = 0
        for index, block in enumerate(layout):
            if block is not None:
                blocks.append(GrownBlock(source=block, is_new=False))
                continue
            here = NewBlock(layout=layout, index=index, new_below=new_below)
            source = None if operator.source is None else operator.source(here)
            blocks.append(GrownBlock(source=source, is_new=True, zero_output=operator.zero_output))
            new_below += 1
        return tuple(blocks)
