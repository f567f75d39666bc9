"""Recipes that grow once."""

from typing import Unpack

from deepen.errors import InvalidValueError
from deepen.growth.layout import parse_layout
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import (
    GrowthOptions,
    MomentPolicyName,
    OperatorName,
    PlacementName,
    Shares,
    as_tuple,
    check_operator,
    check_share,
    parse_plateau,
    resolve_start_depth,
    split_tokens,
)
from deepen.schedule.schedule import Schedule

_DEFAULT_OPERATOR = "interleave"


@recipe("one-shot")
def one_shot(
    model: ModelConfig,
    tokens: int,
    *,
    start_depth: int | None = None,
    grow_at: Shares = 0.5,
    grow_on: str = "",
    operator: OperatorName = _DEFAULT_OPERATOR,
    placement: PlacementName = "",
    layout: str = "",
    moments: MomentPolicyName = "copy",
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """Train shallow, then grow once to full depth.

    Args:
        tokens: total training tokens.
        start_depth: number of blocks before growth, half of the model's where left out; 0 trains embeddings and
            head alone, and then the operator must not copy blocks, because there are none.
        grow_at: share of the tokens spent before growth, in (0, 1).
        grow_on: grow earlier where the training loss falls too slowly, such as plateau:slope=0.2,earliest=0.3.
        operator: how new blocks get their weights.
        placement: where new blocks go; the operator's own placement where left out.
        layout: instead of operator and placement, the blocks to copy, from bottom to top, such as 0-5,0-5.
        moments: what happens to the optimizer's moments at growth.

    Source: Bu, "Deep Progressive Training", arXiv 2511.04981, section 4; copying from Du et al., arXiv
    2405.15319, section 3.
    """
    depth = resolve_start_depth(model, start_depth)
    if layout:
        # A layout takes the place of an operator, except for one that sets outputs to zero.
        named = {"operator": operator} if operator != _DEFAULT_OPERATOR else {}
        grown = Growth(**named, placement=placement, layout=parse_layout(layout), moments=moments, **growth)
    else:
        check_operator(operator, depth)
        grown = Growth(operator=operator, placement=placement, moments=moments, **growth)
    return _grow_once(model, tokens, depth, grow_at, grow_on, grown)


@recipe("stack")
def stack(
    model: ModelConfig,
    tokens: int,
    *,
    growth_factor: int = 4,
    grow_at: Shares = 0.5,
    grow_on: str = "",
    moments: MomentPolicyName = "copy",
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """Train a shallow model, then stack copies of all its blocks on top of each other to full depth.

    Args:
        tokens: total training tokens.
        growth_factor: full depth divided by the number of blocks before growth, which is rounded up; then the
            topmost copy is cut off.
        grow_at: share of the tokens spent before growth, in (0, 1).
        grow_on: grow earlier where the training loss falls too slowly, such as plateau:slope=0.2,earliest=0.3.
        moments: what happens to the optimizer's moments at growth.

    Source: Du et al., "Stacking Your Transformers", arXiv 2405.15319, section 3 (G_stack).
    """
    if not 2 <= growth_factor <= model.depth:
        raise InvalidValueError(
            f"is {growth_factor}",
            field="growth_factor",
            value=growth_factor,
            remedy=f"it must be 2 to {model.depth}, the model's depth",
        )
    depth = -(-model.depth // growth_factor)
    grown = Growth(operator="stack", moments=moments, **growth)
    return _grow_once(model, tokens, depth, grow_at, grow_on, grown)


def _grow_once(
    model: ModelConfig, tokens: int, start_depth: int, grow_at: Shares, grow_on: str, growth: Growth
) -> Schedule:
    """`start_depth` blocks until the share `grow_at` of the tokens, or a plateau before it; then full depth."""
    shares = as_tuple(grow_at)
    if len(shares) != 1:
        raise InvalidValueError(
            f"has {len(shares)} shares, but the recipe grows once",
            field="grow_at",
            value=grow_at,
            remedy="give one, or use the recipe gradual",
        )
    before, after = split_tokens(tokens, (check_share(shares[0], "grow_at"),))
    return Schedule(
        phases=(
            Phase(depth=start_depth, tokens=before, label="shallow", until=parse_plateau(grow_on, before)),
            Phase(depth=model.depth, tokens=after, label="full depth"),
        ),
        growth=growth,
    )
