"""The recipes as functions: from a model and a token budget to a `Schedule`.

    from deepen.recipes import two_phase

See `deepen.schedule.recipes` for the recipes as values, and for how to add one.
"""

from deepen.schedule.recipes.constant_depth import full, small
from deepen.schedule.recipes.one_shot import one_shot
from deepen.schedule.recipes.stages import staged, two_phase

__all__ = ["full", "one_shot", "small", "staged", "two_phase"]
