"""The recipes of the literature, one module for each family.

To add a recipe, write its function in a module of this package, under the decorator `recipe` of
`deepen.schedule.recipe` (see there). The package imports all its modules, so a new file is enough: plans, studies,
training and the command line then know the recipe and its options.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from deepen.errors import InvalidValueError
from deepen.schedule.recipe import Recipe, registered_recipes

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

RECIPES: Mapping[str, Recipe] = registered_recipes()
"""All recipes by name."""

BASELINE = RECIPES["full"]
"""Full depth from the start: what other recipes are compared with where nothing else is named."""


def get_recipe(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        InvalidValueError: there is none of that name.
    """
    if name not in RECIPES:
        raise InvalidValueError(
            f"{name!r} is unknown",
            field="recipe",
            value=name,
            remedy=f"use {', '.join(RECIPES)}",
            allowed=RECIPES,
        )
    return RECIPES[name]
