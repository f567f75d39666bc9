"""Recipes that never grow: the baseline, and the shallow control."""

from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase, Schedule
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import resolve_start_depth


@recipe("full")
def full(model: ModelConfig, tokens: int) -> Schedule:
    """All blocks from the start: the baseline.

    Args:
        tokens: total training tokens.
    """
    return Schedule(phases=(Phase(depth=model.depth, tokens=tokens, label="full depth"),))


@recipe("small", is_control=True)
def small(model: ModelConfig, tokens: int, *, start_depth: int | None = None) -> Schedule:
    """The shallow model alone for all the compute: the control that shows whether depth was needed at all.

    Args:
        tokens: total training tokens.
        start_depth: number of blocks of the shallow model; half of the model's where left out.
    """
    depth = resolve_start_depth(model, start_depth)
    return Schedule(phases=(Phase(depth=depth, tokens=tokens, label="shallow"),))
