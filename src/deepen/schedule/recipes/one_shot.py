"""Recipes that grow once."""

from deepen.errors import InvalidValueError
from deepen.growth.operators import OPERATORS, get_operator
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase, Schedule
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import MomentPolicyName, OperatorName, PlacementName, resolve_start_depth


@recipe("one-shot")
def one_shot(
    model: ModelConfig,
    tokens: int,
    *,
    start_depth: int | None = None,
    grow_at: float = 0.5,
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
    if not 0 < grow_at < 1:
        raise InvalidValueError(
            f"is {grow_at}",
            field="grow_at",
            value=grow_at,
            remedy="it is a share of the tokens and must lie between 0 and 1",
        )
    if depth == 0 and get_operator(operator).copies:
        usable = [name for name, other in OPERATORS.items() if not other.copies]
        raise InvalidValueError(
            f"{operator!r} copies blocks, and with `start_depth` 0 there are none",
            field="operator",
            value=operator,
            remedy=f"use {' or '.join(usable)}",
            allowed=usable,
        )
    before = round(tokens * grow_at)
    return Schedule(
        phases=(
            Phase(depth=depth, tokens=before, label="shallow"),
            Phase(depth=model.depth, tokens=tokens - before, label="full depth"),
        ),
        growth=Growth(operator=operator, placement=placement, moments=moments),
    )
