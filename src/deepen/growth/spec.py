"""How a model becomes deeper, as a value: operator, placement and moment policy by name.

A `Growth` is chosen before the depth of a model is known. `resolve` turns it into the `GrowthStep` of a model of a
given depth, which says what each block becomes. Two ways to write the same growth resolve to the same step:

    Growth(operator="stack", moments="copy").resolve(6, 12)
    Growth(layout=parse_layout("0-5,0-5"), moments="copy").resolve(6, 12)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from deepen.errors import InvalidValueError, is_number, join_or, look_up
from deepen.growth.layout import GrownBlock, count_blocks, describe_layout, follow_layout, get_placement
from deepen.growth.moments import get_moment_policy
from deepen.growth.operators import OPERATORS, NewBlock, Operator, get_operator

LAYOUT_OPERATORS = ("random", "copy-zero")
"""The operators that a layout allows: the default, which it overrides, and zero outputs of repeated blocks."""
REWARMED = {"new-blocks": "the rate of new blocks alone", "all": "the rate of everything"}
"""Whose rate rises again after growth, where it does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowthStep:
    """A growth of a model of known depth, with everything that its numbers depend on.

    Attributes:
        blocks: what each block becomes, from bottom to top.
        moments: what happens to the optimizer's moments, one of `MOMENT_POLICIES`.
        noise: as in `Growth`.
    """

    blocks: tuple[GrownBlock, ...]
    moments: str = "keep"
    noise: float = 0.0

    @property
    def depth(self) -> int:
        """Blocks after growth."""
        return len(self.blocks)

    @property
    def new_blocks(self) -> tuple[int, ...]:
        """Indices of the new blocks."""
        return tuple(index for index, block in enumerate(self.blocks) if block.is_new)

    def preserves_function(self, old: int, layers: tuple[int, ...] = ()) -> bool:
        """Whether the logits stay equal up to rounding.

        They do if the blocks that add something to the residual stream are the layers before growth, in order and
        unchanged. Where the scale of a residual branch depends on the depth (`ModelConfig.branch_scale`), it must
        be the same before and after.

        Args:
            old: stored blocks before growth.
            layers: the block of each layer before growth, where layers share blocks.
        """
        active = [block for block in self.blocks if not block.zero_output]
        changed = any(
            block.is_new and (self.noise or not block.is_copy or block.residual_scale != 1) for block in active
        )
        return not changed and [block.source for block in active] == [*(layers or range(old))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """How a model becomes deeper where a schedule's depth rises.

    Attributes:
        operator: how new blocks get their weights, one of `OPERATORS`, or `untie`.
        placement: where new blocks go, one of `PLACEMENTS`; empty means the operator's default.
        moments: what happens to the optimizer's moments, one of `MOMENT_POLICIES`.
        layout: instead of operator and placement: for each block, from bottom to top, the block before growth
            whose weights it has. Where a block is repeated, all but the lowest are new. With operator `copy-zero`
            their outputs are zero.
        residual_scale: factor of the output of copies: of the weights and biases of their output projections.
        noise: standard deviation of normal noise that is added to the matrices of copies, in units of the root
            mean square of each matrix.
        rewarm_tokens: tokens over which the rate rises again from 0 after growth; 0 means that it does not.
        rewarm: whose rate rises again, one of `REWARMED`.
    """

    operator: str = "random"
    placement: str = ""
    moments: str = "keep"
    layout: tuple[int, ...] = ()
    residual_scale: float = 1.0
    noise: float = 0.0
    rewarm_tokens: int = 0
    rewarm: str = "new-blocks"

    def __post_init__(self) -> None:
        operator = get_operator(self.operator)
        get_moment_policy(self.moments)
        look_up(REWARMED, self.rewarm, field="rewarm")
        if self.layout:
            self._check_layout()
        elif not self.placement:
            object.__setattr__(self, "placement", operator.placement)
        if self.placement:
            get_placement(self.placement)
            if operator.unties:
                raise InvalidValueError(
                    f"is {self.placement}, but operator {self.operator!r} decides where new blocks go",
                    field="placement",
                    value=self.placement,
                    remedy="leave it out",
                )
        for name in ("residual_scale", "noise", "rewarm_tokens"):
            value = getattr(self, name)
            if not (is_number(value) and value >= 0):
                raise InvalidValueError(
                    f"is {value!r}", field=name, value=value, remedy="it must be a number of 0 or more"
                )
        if self.rewarm != "new-blocks" and not self.rewarm_tokens:
            raise InvalidValueError(
                f"is {self.rewarm}, but the rate does not rise again",
                field="rewarm",
                value=self.rewarm,
                remedy="give `rewarm_tokens`, or leave it out",
            )
        for name in ("residual_scale", "noise"):  # 1 and 1.0 are written differently in a key
            object.__setattr__(self, name, float(getattr(self, name)))
        self._check_copies(operator)

    def _check_layout(self) -> None:
        if not isinstance(self.layout, Iterable):
            raise InvalidValueError(
                f"is {self.layout!r}: it must be indices of blocks, such as (0, 1, 0, 1)",
                field="layout",
                value=self.layout,
            )
        object.__setattr__(self, "layout", tuple(self.layout))
        if wrong := [block for block in self.layout if type(block) is not int or block < 0]:
            raise InvalidValueError(
                f"has {wrong[0]!r}", field="layout", value=self.layout, remedy="it must be the index of a block"
            )
        if self.operator not in LAYOUT_OPERATORS:
            raise InvalidValueError(
                f"is {self.operator}, but `layout` names the blocks to copy",
                field="operator",
                value=self.operator,
                remedy="leave it out, or use copy-zero",
            )
        if self.placement:
            raise InvalidValueError(
                "places all blocks", field="layout", value=self.layout, remedy="leave out `placement`"
            )

    def _check_copies(self, operator: Operator) -> None:
        """Refuse options of copies where nothing is copied, or where the output of copies is zero."""
        copies = bool(self.layout) or operator.copies
        if self.noise and not copies:
            raise InvalidValueError(
                f"is {self.noise}, but operator {self.operator!r} copies no blocks",
                field="noise",
                value=self.noise,
                remedy="leave it out",
            )
        if self.residual_scale != 1 and (operator.zero_output or not copies):
            why = "makes the output zero" if operator.zero_output else "copies no blocks"
            raise InvalidValueError(
                f"is {self.residual_scale}, but operator {self.operator!r} {why}",
                field="residual_scale",
                value=self.residual_scale,
                remedy="leave it out",
            )

    def __str__(self) -> str:
        how = ", ".join(filter(None, (self.operator, self.placement)))
        if self.layout:
            zero = get_operator(self.operator).zero_output
            how = f"layout {describe_layout(self.layout)}{', outputs of copies zero' if zero else ''}"
        scale = "" if self.residual_scale == 1 else f", outputs of copies × {self.residual_scale:g}"
        return f"{how}{scale}{f', noise {self.noise:g}' if self.noise else ''}"

    def resolve(self, old: int, depth: int, layers: tuple[int, ...] = ()) -> GrowthStep:
        """The growth of a model of `old` blocks to `depth` blocks.

        Args:
            old, depth: stored blocks before and after.
            layers: the block of each layer before growth, where layers share blocks; `untie` needs it.

        Raises:
            InvalidValueError: `depth` is not above `old`, there is no block to copy, or the layout does not fit.
        """
        return _resolve(self, old, depth, layers)


@lru_cache(maxsize=1024)  # the search for a mark resolves the same growth again and again
def _resolve(growth: Growth, old: int, depth: int, layers: tuple[int, ...]) -> GrowthStep:
    if depth <= old:
        raise InvalidValueError(
            f"is {depth}, but the model has {count_blocks(old)} already: growth only adds",
            field="depth",
            value=depth,
        )
    operator = get_operator(growth.operator)
    scale = 0.0 if operator.zero_output else growth.residual_scale
    if operator.unties:
        if len(layers) != depth:
            has = f"{len(layers)} layers share blocks" if layers else "no layers share blocks"
            raise InvalidValueError(
                f"{growth.operator!r} gives each layer a block of its own, but before growth {has}, and the "
                f"model grows to {count_blocks(depth)}",
                field="operator",
                value=growth.operator,
                remedy="give the phase before `layers`, as many as there are blocks afterwards",
            )
        blocks = follow_layout(layers, old, residual_scale=scale)
    elif growth.layout:
        blocks = follow_layout(growth.layout, old, residual_scale=scale)
        if len(blocks) != depth:
            raise InvalidValueError(
                f"has {count_blocks(len(blocks))}, but the model grows to {depth}",
                field="layout",
                value=growth.layout,
                remedy="give the layout as many blocks as the model has after growth",
            )
    elif operator.copies and old == 0:
        usable = [name for name, other in OPERATORS.items() if not other.copies]
        raise InvalidValueError(
            f"{growth.operator!r} copies blocks, and the model has none",
            field="operator",
            value=growth.operator,
            remedy=f"use {join_or(usable)}",
            allowed=usable,
        )
    else:
        blocks = tuple(_arrange(growth, operator, scale, old, depth - old))
    copies = any(block.is_new and block.source is not None for block in blocks)
    moments = "keep" if growth.moments == "copy" and not copies else growth.moments
    return GrowthStep(blocks=blocks, moments=moments, noise=growth.noise)


def _arrange(growth: Growth, operator: Operator, scale: float, old: int, new: int) -> list[GrownBlock]:
    """What each block becomes by operator and placement."""
    layout = get_placement(growth.placement).arrange(old, new)
    blocks: list[GrownBlock] = []
    new_below = 0
    for index, block in enumerate(layout):
        if block is not None:
            blocks.append(GrownBlock(source=block, is_new=False))
            continue
        here = NewBlock(layout=layout, index=index, new_below=new_below)
        source = None if operator.source is None else operator.source(here)
        upper = here.nearest_above if operator.interpolates and here.nearest_below is not None else None
        blocks.append(
            GrownBlock(
                source=source,
                is_new=True,
                residual_scale=scale,
                upper_source=upper,
                upper_share=0.0 if upper is None else here.height,
            )
        )
        new_below += 1
    return blocks
