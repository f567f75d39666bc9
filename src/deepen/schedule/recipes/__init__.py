"""The recipes of the literature, one module for each family.

To add a recipe, write its function in a module of this package and decorate it with
`deepen.schedule.recipe.recipe` (see there). The package imports all its modules, so a new file is enough for
plans, studies, training and the command line to find the recipe and its options.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from deepen.errors import look_up
from deepen.schedule.recipe import Recipe, registered_recipes

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

RECIPES: Mapping[str, Recipe] = registered_recipes()
"""All recipes by name."""

BASELINE = RECIPES["full"]
"""Full depth from the start: the default baseline of other recipes."""


def get_recipe(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        InvalidValueError: the name is unknown.
    """
    return look_up(RECIPES, name, field="recipe")
