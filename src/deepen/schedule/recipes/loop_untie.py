"""Looping before depth: blocks in the middle are executed several times, and later each pass gets its own block.

On a model of 12 blocks, with the default of 2 loops:

    phase   layers executed                          blocks stored
    looped  0 1  2 3 4 5  2 3 4 5  6 7               8
    untied  0 1  2 3 4 5  6 7 8 9  10 11             12; 6 to 9 begin as copies of 2 to 5
"""

from typing import Unpack

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import (
    GrowthOptions,
    MomentPolicyName,
    check_share,
    parse_plateau,
    split_tokens,
)
from deepen.schedule.schedule import Schedule


@recipe("loop-untie")
def loop_untie(
    model: ModelConfig,
    tokens: int,
    *,
    loops: int = 2,
    looped_blocks: int | None = None,
    untie_at: float = 0.5,
    grow_on: str = "",
    moments: MomentPolicyName = "copy",
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """Execute a group of blocks in the middle several times, then give every layer a block of its own.

    Args:
        tokens: total training tokens.
        loops: number of times that the group is executed, at least 2.
        looped_blocks: number of blocks in the group; where left out, about two thirds of the layers are looped.
        untie_at: share of the tokens spent before every layer has its own block, in (0, 1).
        grow_on: untie earlier where the training loss falls too slowly, such as plateau:slope=0.2,earliest=0.3.
        moments: what happens to the optimizer's moments when copies become blocks of their own.

    Source: Schwethelm et al., "How Much Is One Recurrence Worth? Iso-Depth Scaling Laws for Looped Language
    Models", arXiv 2604.21106 (looped models, with unlooped blocks below and above).
    """
    layers = _loop_middle(model.depth, loops, looped_blocks)
    before, after = split_tokens(tokens, (check_share(untie_at, "untie_at"),))
    return Schedule(
        phases=(
            Phase(
                depth=model.depth,
                tokens=before,
                label="looped",
                layers=layers,
                until=parse_plateau(grow_on, before),
            ),
            Phase(depth=model.depth, tokens=after, label="untied"),
        ),
        growth=Growth(operator="untie", moments=moments, **growth),
    )


def _loop_middle(depth: int, loops: int, looped_blocks: int | None) -> tuple[int, ...]:
    """The block of each layer: a group in the middle of which `loops` passes follow each other."""
    if not 2 <= loops <= depth:
        raise InvalidValueError(
            f"is {loops}", field="loops", value=loops, remedy=f"it must be 2 to {depth}, the model's depth"
        )
    size = max(1, round(depth * 2 / 3 / loops)) if looped_blocks is None else looped_blocks
    if not 1 <= size * loops <= depth:
        raise InvalidValueError(
            f"is {size}, and {loops} loops of them are {size * loops} layers",
            field="looped_blocks",
            value=size,
            remedy=f"use 1 to {depth // loops}, because the model has {depth} layers",
        )
    below = (depth - size * loops) // 2
    above = depth - size * loops - below
    group = range(below, below + size)
    return (*range(below), *(tuple(group) * loops), *range(group.stop, group.stop + above))
