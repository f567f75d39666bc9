"""The recipes as functions, from a model and a token budget to a `Schedule`:

    from deepen.recipes import two_phase

Every recipe in `deepen.schedule.recipes` can be imported from here by its function's name. That package explains
how to add one.
"""

from typing import Any

from deepen.schedule.recipes import RECIPES
from deepen.schedule.recipes.constant_depth import full, small
from deepen.schedule.recipes.expand import expand
from deepen.schedule.recipes.gradual import gradual, middle
from deepen.schedule.recipes.loop_untie import loop_untie
from deepen.schedule.recipes.one_shot import one_shot, stack
from deepen.schedule.recipes.stages import staged, two_phase
from deepen.schedule.recipes.unfreeze import unfreeze

__all__ = [
    "expand",
    "full",
    "gradual",
    "loop_untie",
    "middle",
    "one_shot",
    "small",
    "stack",
    "staged",
    "two_phase",
    "unfreeze",
]


def __getattr__(name: str) -> Any:
    """Find the function of a recipe that is not imported above."""
    for recipe in RECIPES.values():
        if recipe.build.__name__ == name:
            return recipe.build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
