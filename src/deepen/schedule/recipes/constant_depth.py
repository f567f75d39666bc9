"""Recipes that never grow: the baseline, and the shallow control."""

from deepen.model.config import ModelConfig
from deepen.schedule.phase import Phase
from deepen.schedule.recipe import recipe
from deepen.schedule.recipe_options import TrainableName, resolve_start_depth
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import Trainable, parse_trainable


@recipe("full")
def full(model: ModelConfig, tokens: int, *, train: TrainableName = Trainable.ALL.name) -> Schedule:
    """All blocks from the start: the baseline.

    Args:
        tokens: total training tokens.
        train: what is trained: a name, or parts such as blocks:8-11,head,embeddings,norms.
    """
    trained = parse_trainable(train, "train")
    return Schedule(phases=(Phase(depth=model.depth, tokens=tokens, label="full depth", train=trained),))


@recipe("small", is_control=True)
def small(
    model: ModelConfig, tokens: int, *, start_depth: int | None = None, train: TrainableName = Trainable.ALL.name
) -> Schedule:
    """The shallow model alone for all the compute: the control that shows whether depth was needed at all.

    Args:
        tokens: total training tokens.
        start_depth: number of blocks of the shallow model; half of the model's where left out.
        train: what is trained: a name, or parts such as blocks:0,2-3,head,embeddings,norms.
    """
    depth, trained = resolve_start_depth(model, start_depth), parse_trainable(train, "train")
    return Schedule(phases=(Phase(depth=depth, tokens=tokens, label="shallow", train=trained),))
