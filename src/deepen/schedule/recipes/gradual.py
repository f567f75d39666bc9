"""Recipes that grow several times, with everything trained throughout.

`gradual` on a model of 12 blocks, in the default four stages:

    label    depth  tokens     new blocks
    stage 1  3      10 %
    stage 2  6      20 %       copies of blocks 0, 1, 2, on top
    stage 3  9      30 %       copies of blocks 3, 4, 5
    stage 4  12     40 %       copies of blocks 6, 7, 8
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.partition import partition as divide_blocks
from deepen.schedule.phase import Phase, Schedule
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import (
    Depths,
    MomentPolicyName,
    OperatorName,
    PlacementName,
    Shares,
    as_tuple,
    check_operator,
    check_share,
    proportional_shares,
    split_tokens,
)
from deepen.schedule.recipes.stages import DEFAULT_STAGES


@recipe("gradual")
def gradual(
    model: ModelConfig,
    tokens: int,
    *,
    depths: Depths = (),
    grow_at: Shares = (),
    stages: int = DEFAULT_STAGES,
    partition: str = "spread",
    alpha: float = 1.0,
    operator: OperatorName = "stack",
    placement: PlacementName = "",
    moments: MomentPolicyName = "copy",
) -> Schedule:
    """Grow in several stages, each time by copies of the blocks added last.

    Args:
        tokens: total training tokens.
        depths: number of blocks of each stage, such as 3,6,12; where left out, by stages and partition.
        grow_at: share of the tokens spent before growth, in (0, 1); several for several growths, such as 0.3,0.6;
            where left out, by alpha.
        stages: number of stages S, unless depths are given.
        partition: how the blocks are divided over the stages: spread, front, back, even, floor, or sizes such as
            6,3,3.
        alpha: an exponent: stage i gets a share of the tokens in proportion to i**alpha; 0 makes all stages equal.
        operator: how new blocks get their weights.
        placement: where new blocks go; the operator's own placement where left out.
        moments: what happens to the optimizer's moments at growth.

    Source: Gong et al., "Efficient Training of BERT by Progressively Stacking", ICML 2019, section 3; Reddi et
    al., "Efficient Training of Language Models using Few-Shot Learning", ICML 2023, section 3.
    """
    blocks = _resolve_depths(model, as_tuple(depths), stages, partition)
    check_operator(operator, blocks[0])
    shares = _resolve_shares(as_tuple(grow_at), len(blocks), alpha)
    return Schedule(
        phases=_stages(tokens, blocks, shares),
        growth=Growth(operator=operator, placement=placement, moments=moments),
    )


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
    if any(after <= before for before, after in pairwise(shares)) or len(shares) != stages - 1:
        raise InvalidValueError(
            f"is {_join(shares)}",
            field="grow_at",
            value=shares,
            remedy=f"{stages} stages need {stages - 1} rising shares, one for each growth",
        )
    return shares


def _stages(tokens: int, depths: Sequence[int], shares: Sequence[float]) -> tuple[Phase, ...]:
    """A phase for each depth; all but the last end at their share of the tokens."""
    lengths = split_tokens(tokens, shares)
    return tuple(
        Phase(depth=depth, tokens=length, label=f"stage {number}")
        for number, (depth, length) in enumerate(zip(depths, lengths, strict=True), start=1)
    )


def _join(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
