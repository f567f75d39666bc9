"""Recipes that grow several times, with everything trained throughout.

`gradual` and `middle` on a model of 12 blocks, by default in four stages:

    stage  depth  tokens  gradual                                   middle
    1      3      10 %    0 1 2                                     0 1 2
    2      6      20 %    0 1 2 and copies of 0 1 2                 0 1 2 and copies of 0 1 2
    3      9      30 %    0 to 5 and copies of 3 4 5                0 1 2, copies of 0 1 2, 3 4 5
    4      12     40 %    0 to 8 and copies of 6 7 8                0 to 5, copies of 3 4 5, 6 7 8
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Annotated, Unpack

from deepen.errors import InvalidValueError, look_up
from deepen.growth.layout import find_middle_group
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.option import OneOf
from deepen.schedule.partition import partition as divide_blocks
from deepen.schedule.phase import Phase
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import (
    Depths,
    GrowthOptions,
    MomentPolicyName,
    OperatorName,
    PlacementName,
    Shares,
    as_tuple,
    check_operator,
    check_share,
    parse_plateau,
    proportional_shares,
    split_tokens,
)
from deepen.schedule.recipes.stages import DEFAULT_STAGES
from deepen.schedule.schedule import Schedule

DEFAULT_PARTITION = "spread"
DEFAULT_ALPHA = 1.0


@recipe("gradual")
def gradual(
    model: ModelConfig,
    tokens: int,
    *,
    depths: Depths = (),
    grow_at: Shares = (),
    grow_on: str = "",
    stages: int = DEFAULT_STAGES,
    partition: str = DEFAULT_PARTITION,
    alpha: float = DEFAULT_ALPHA,
    operator: OperatorName = "last",
    placement: PlacementName = "",
    moments: MomentPolicyName = "copy",
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """Grow in several stages, each time by copies of the blocks added last.

    Args:
        tokens: total training tokens.
        depths: number of blocks of each stage, such as 3,6,12; where left out, by stages and partition.
        grow_at: share of the tokens spent before growth, in (0, 1); several for several growths, such as 0.3,0.6;
            where left out, by alpha.
        grow_on: grow earlier where the training loss falls too slowly, such as plateau:slope=0.2,earliest=0.3.
        stages: number of stages S, unless depths are given.
        partition: how the blocks are divided over the stages: spread, front, back, even, floor, or sizes such as
            6,3,3.
        alpha: an exponent: stage i gets a share of the tokens in proportion to i**alpha; 0 makes all stages equal.
        operator: how new blocks get their weights.
        placement: where new blocks go; the operator's own placement where left out.
        moments: what happens to the optimizer's moments at growth.

    Source: Gong et al., "Efficient Training of BERT by Progressively Stacking", ICML 2019; Reddi et al.,
    "Efficient Training of Language Models using Few-Shot Learning", ICML 2023.
    """
    blocks = _resolve_depths(model, as_tuple(depths), stages, partition)
    check_operator(operator, blocks[0], field="depths")
    shares = _resolve_shares(as_tuple(grow_at), len(blocks), alpha)
    return Schedule(
        phases=_make_stages(tokens, blocks, shares, grow_on),
        growth=Growth(operator=operator, placement=placement, moments=moments, **growth),
    )


def _exact_middle(depth: int, size: int) -> range:
    """The `size` layers in the middle of `depth`; the lower ones where there is no exact middle."""
    begin = (depth - size) // 2
    return range(begin, begin + size)


MIDDLE_GROUPS: Mapping[str, Callable[[int, int], range]] = {"midas": find_middle_group, "lidas": _exact_middle}
"""Which layers `middle` copies, by depth and number of new layers. MIDAS copies the middle one of the groups that
were added so far, the lower of two; LIDAS the layers in the exact middle, which may belong to two groups."""


@recipe("middle")
def middle(
    model: ModelConfig,
    tokens: int,
    *,
    new_blocks: int | None = None,
    variant: Annotated[str, OneOf(MIDDLE_GROUPS)] = "midas",
    alpha: float = DEFAULT_ALPHA,
    grow_at: Shares = (),
    grow_on: str = "",
    moments: MomentPolicyName = "copy",
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """Grow in several stages, each time by copies of the blocks in the middle, put right above them.

    Args:
        tokens: total training tokens.
        new_blocks: number of blocks b that each stage adds, a quarter of the model's where left out; the first
            stage has as many, and what remains of the depth when it is divided by b.
        variant: which blocks are copied: those of the middle group (midas) or the exact middle (lidas).
        alpha: an exponent: stage i gets a share of the tokens in proportion to i**alpha; 0 makes all stages equal.
        grow_at: share of the tokens spent before growth, in (0, 1); several for several growths, such as 0.3,0.6;
            where left out, by alpha.
        grow_on: grow earlier where the training loss falls too slowly, such as plateau:slope=0.2,earliest=0.3.
        moments: what happens to the optimizer's moments at growth.

    Source: Saunshi et al., "On the Inductive Bias of Stacking Towards Improving Reasoning", arXiv 2409.19044
    (MIDAS, and the lengths of stages); Kapl et al., "Do Depth-Grown Models Overcome the Curse of Depth?", arXiv
    2512.08819 (LIDAS).
    """
    size = max(1, model.depth // 4) if new_blocks is None else new_blocks
    if not 1 <= size <= model.depth:
        raise InvalidValueError(
            f"is {size}",
            field="new_blocks",
            value=size,
            remedy=f"it must be 1 to {model.depth}, the model's depth",
        )
    choose = look_up(MIDDLE_GROUPS, variant, field="variant")
    depths = range(size + model.depth % size, model.depth + 1, size)
    shares = _resolve_shares(as_tuple(grow_at), len(depths), alpha)
    first, *others = _make_stages(tokens, depths, shares, grow_on)
    growths = [
        Growth(layout=_repeat(choose(depth, size), depth), moments=moments, **growth) for depth in depths[:-1]
    ]
    grown = (replace(phase, growth=each) for phase, each in zip(others, growths, strict=True))
    return Schedule(phases=(first, *grown))


def _repeat(group: range, depth: int) -> tuple[int, ...]:
    """The layout in which a group of blocks is followed by its copy."""
    return (*range(group.stop), *group, *range(group.stop, depth))


def _resolve_depths(model: ModelConfig, depths: tuple[int, ...], stages: int, partition: str) -> tuple[int, ...]:
    """The blocks of each stage: as given, or from a partition."""
    if not depths:
        return tuple(accumulate(divide_blocks(model.depth, stages, partition)))
    if stages not in (DEFAULT_STAGES, len(depths)):
        raise InvalidValueError(
            f"is {stages}, but `depths` has {len(depths)}",
            field="stages",
            value=stages,
            remedy="leave one of them out",
        )
    if partition != DEFAULT_PARTITION:
        raise InvalidValueError(
            f"is {partition}, but `depths` divides the blocks",
            field="partition",
            value=partition,
            remedy="leave one of them out",
        )
    if any(after <= before for before, after in pairwise((-1, *depths))) or depths[-1] != model.depth:
        raise InvalidValueError(
            f"is {_join(depths)}",
            field="depths",
            value=depths,
            remedy=f"the depths must rise and end with the model's {model.depth}",
        )
    return depths


def _resolve_shares(shares: tuple[float, ...], stages: int, alpha: float) -> tuple[float, ...]:
    """Where each stage but the last ends, as a share of the tokens: as given, or by `alpha`."""
    if not shares:
        return proportional_shares(stages, alpha)
    for share in shares:
        check_share(share, "grow_at")
    if alpha != DEFAULT_ALPHA:
        raise InvalidValueError(
            f"is {alpha:g}, but `grow_at` sets the lengths of the stages",
            field="alpha",
            value=alpha,
            remedy="leave one of them out",
        )
    if any(after <= before for before, after in pairwise(shares)) or len(shares) != stages - 1:
        raise InvalidValueError(
            f"is {_join(shares)}",
            field="grow_at",
            value=shares,
            remedy=f"{stages} stages need {stages - 1} rising shares, one for each growth",
        )
    return shares


def _make_stages(tokens: int, depths: Sequence[int], shares: Sequence[float], grow_on: str) -> tuple[Phase, ...]:
    """A phase for each depth; all but the last end at their share of the tokens, or at a plateau before it."""
    *before, last = split_tokens(tokens, shares)
    until = [*(parse_plateau(grow_on, length) for length in before), None]
    return tuple(
        Phase(depth=depth, tokens=length, label=f"stage {number}", until=plateau)
        for number, (depth, length, plateau) in enumerate(
            zip(depths, [*before, last], until, strict=True), start=1
        )
    )


def _join(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
