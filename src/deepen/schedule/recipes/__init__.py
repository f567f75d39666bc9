"""The recipes of the literature, one module for each family.

To add a recipe, write its function in a module of this package and decorate it with
`deepen.schedule.recipe.recipe` (see there). The package imports all its modules, so a new file is enough for
plans, studies, training and the command line to find the recipe and its options.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from deepen.errors import InvalidValueError, look_up
from deepen.model.config import ModelConfig
from deepen.schedule.recipe import Recipe, RecipeLike, RecordedRecipe, registered_recipes
from deepen.schedule.recipe_function import Build, read_name
from deepen.schedule.schedule import Schedule

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

RECIPES: Mapping[str, Recipe] = registered_recipes()
"""All recipes by name."""

BASELINE = RECIPES["full"]
"""Full depth from the start: the default baseline of other recipes."""

CONSTANT_DEPTH = RECIPES["small"]
"""A constant depth that its option `start_depth` gives."""


def get_recipe(recipe: RecipeLike) -> Recipe:
    """The recipe with a name, or with a function.

    Raises:
        InvalidValueError: the name is unknown.
    """
    if isinstance(recipe, RecordedRecipe):
        return Recipe(name=recipe.function, build=_unavailable(recipe))
    if callable(recipe):
        registered = find_registered(recipe)
        return Recipe(name=read_name(recipe), build=recipe) if registered is None else registered
    return look_up(RECIPES, recipe, field="recipe")


def find_registered(build: Build) -> Recipe | None:
    """The registered recipe with this function; None if there is none."""
    return next((recipe for recipe in RECIPES.values() if recipe.build is build), None)


def _unavailable(recorded: RecordedRecipe) -> Build:
    """A function that stands for one of which only a record exists."""

    def refuse(model: ModelConfig, tokens: int, **options: object) -> Schedule:
        where = f" of {recorded.file}" if recorded.file else ""
        raise InvalidValueError(
            f"study.json only records this function{where}",
            value=recorded.function,
            remedy="give the study an arm with the function itself",
        )

    return refuse
