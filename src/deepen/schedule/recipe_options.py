"""Shared by recipes: annotations for options that hold a registered name, and the default start depth."""

from typing import Annotated

from deepen.errors import InvalidValueError
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.model.config import ModelConfig
from deepen.schedule.recipe_function import OneOf
from deepen.schedule.trainable import TRAINABLE_SETS

OperatorName = Annotated[str, OneOf(OPERATORS)]
PlacementName = Annotated[str, OneOf(PLACEMENTS)]
MomentPolicyName = Annotated[str, OneOf(MOMENT_POLICIES)]
TrainableName = Annotated[str, OneOf(TRAINABLE_SETS)]


def resolve_start_depth(model: ModelConfig, start_depth: int | None) -> int:
    """Blocks before growth; half of the model's if `start_depth` is None.

    Raises:
        InvalidValueError: the depth is not below the model's.
    """
    depth = model.depth // 2 if start_depth is None else start_depth
    if not 0 <= depth < model.depth:
        raise InvalidValueError(
            f"is {depth}",
            field="start_depth",
            value=depth,
            remedy=f"it must be 0 to {model.depth - 1}, below the model's {model.depth}",
        )
    return depth
