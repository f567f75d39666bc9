"""Expanding a trained model: new blocks between the old ones, and only they train."""

from typing import Unpack

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
    TrainableName,
    resolve_start_depth,
)
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable, parse_trainable

_DEFAULT_PLACEMENT = "interleaved"


@recipe("expand", needs_checkpoint=True)
def expand(
    model: ModelConfig,
    tokens: int,
    *,
    start_depth: int | None = None,
    operator: OperatorName = "copy-zero",
    placement: PlacementName = _DEFAULT_PLACEMENT,
    layout: str = "",
    scope: TrainableName = Trainable.NEW_BLOCKS.name,
    moments: MomentPolicyName = "keep",
    **growth: Unpack[GrowthOptions],
) -> Schedule:
    """Put new blocks between those of a trained model, where they change nothing at first, and train only them.

    Args:
        tokens: total training tokens.
        start_depth: number of blocks of the trained model; the checkpoint's where there is one, else half of the
            model's.
        operator: how new blocks get their weights.
        placement: where new blocks go.
        layout: instead of operator and placement, the blocks to copy, from bottom to top, such as 0-5,0-5.
        scope: what is trained: a name, or parts such as blocks:8-11,head,embeddings,norms.
        moments: what happens to the optimizer's moments at growth.

    Source: Wu et al., "LLaMA Pro: Progressive LLaMA with Block Expansion", arXiv 2401.02415, section 3.
    """
    if layout:
        placement = "" if placement == _DEFAULT_PLACEMENT else placement
    return Schedule(
        phases=(Phase(depth=model.depth, tokens=tokens, label="expanded", train=parse_trainable(scope)),),
        growth=Growth(
            operator=operator,
            placement=placement,
            layout=parse_layout(layout) if layout else (),
            moments=moments,
            **growth,
        ),
        start_depth=resolve_start_depth(model, start_depth),
    )
