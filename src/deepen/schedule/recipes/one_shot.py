"""Recipes that grow once."""

from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase, Schedule
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import (
    MomentPolicyName,
    OperatorName,
    PlacementName,
    Shares,
    as_tuple,
    check_operator,
    check_share,
    resolve_start_depth,
    split_tokens,
)


@recipe("one-shot")
def one_shot(
    model: ModelConfig,
    tokens: int,
    *,
    start_depth: int | None = None,
    grow_at: Shares = 0.5,
    operator: OperatorName = "interleave",
    placement: PlacementName = "",
    moments: MomentPolicyName = "copy",
) -> Schedule:
    """Train shallow, then grow once to full depth.

    Args:
        tokens: total training tokens.
        start_depth: number of blocks before growth, half of the model's where left out; 0 trains embeddings and
            head alone, and then the operator must not copy blocks, because there are none.
        grow_at: share of the tokens spent before growth, in (0, 1).
        operator: how new blocks get their weights.
        placement: where new blocks go; the operator's own placement where left out.
        moments: what happens to the optimizer's moments at growth.

    Source: Bu, "Deep Progressive Training", arXiv 2511.04981, section 4; copying from Du et al., arXiv
    2405.15319, section 3.
    """
    depth = resolve_start_depth(model, start_depth)
    check_operator(operator, depth)
    growth = Growth(operator=operator, placement=placement, moments=moments)
    return _grow_once(model, tokens, depth, grow_at, growth)


@recipe("stack")
def stack(
    model: ModelConfig,
    tokens: int,
    *,
    growth_factor: int = 4,
    grow_at: Shares = 0.5,
    moments: MomentPolicyName = "copy",
) -> Schedule:
    """Train a shallow model, then stack copies of all its blocks on top of each other to full depth.

    Args:
        tokens: total training tokens.
        growth_factor: full depth divided by the number of blocks before growth, which is rounded up; then the
            topmost copy is cut off.
        grow_at: share of the tokens spent before growth, in (0, 1).
        moments: what happens to the optimizer's moments at growth.

    Source: Du et al., "Stacking Your Transformers", arXiv 2405.15319, section 3 (G_stack) and section 5.
    """
    if not 2 <= growth_factor <= model.depth:
        raise InvalidValueError(
            f"is {growth_factor}",
            field="growth_factor",
            value=growth_factor,
            remedy=f"it must be 2 to {model.depth}, the model's depth",
        )
    depth = -(-model.depth // growth_factor)
    return _grow_once(model, tokens, depth, grow_at, Growth(operator="stack", moments=moments))


def _grow_once(model: ModelConfig, tokens: int, start_depth: int, grow_at: Shares, growth: Growth) -> Schedule:
    """`start_depth` blocks until the share `grow_at` of the tokens, then full depth."""
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
            Phase(depth=start_depth, tokens=before, label="shallow"),
            Phase(depth=model.depth, tokens=after, label="full depth"),
        ),
        growth=growth,
    )
