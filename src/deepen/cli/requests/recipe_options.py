"""Options of recipes, taken from the recipes themselves: a new recipe with new options needs no change here."""

from typing import Any

from deepen.cli.requests.command import Option, as_flag
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import ValueType, one_of, read_number, read_text, whole_number
from deepen.model.config import ModelConfig
from deepen.schedule.recipe_function import RecipeOption
from deepen.schedule.recipes import BASELINE, RECIPES
from deepen.study.define.study import Arm

_AMPLE_TOKENS = 10**12
"""A budget that every recipe can be built with: what is wrong with its options has other reasons then."""


def _value_type(option: RecipeOption) -> ValueType | None:
    """What an option takes; the range of numbers is checked by the recipe."""
    if option.kind is bool:
        return None
    if option.kind is int:
        return whole_number(minimum=-(10**9), maximum=10**9)
    if option.kind is float:
        return ValueType(metavar="X", read=read_number)
    if option.choices:
        return one_of(option.choices)
    return ValueType(metavar="TEXT", read=read_text)


def _make_option(name: str) -> Option:
    """An option that one recipe or several have."""
    owners = {recipe.name: recipe.options[name] for recipe in RECIPES.values() if name in recipe.options}
    first, defaults = next(iter(owners.values())), {str(option.default) for option in owners.values()}
    default_help = ""
    if first.kind is not bool and first.default not in (None, ""):
        default_help = defaults.pop() if len(defaults) == 1 else "the recipe's own"
    return Option(
        name=name.replace("_", "-"),
        takes=_value_type(first),
        help=first.help.rstrip("."),
        default_help=default_help,
        owners=tuple(owners),
    )


RECIPE_OPTIONS = tuple(
    _make_option(name) for name in dict.fromkeys(name for recipe in RECIPES.values() for name in recipe.options)
)
"""The options of all recipes."""

PRESETS_OF_RECIPES = {
    name: tuple(recipe.name for recipe in RECIPES.values() if name in recipe.presets)
    for name in dict.fromkeys(name for recipe in RECIPES.values() for name in recipe.presets)
}
"""Every preset by name, with the recipes that have it."""

PRESET_OPTION = Option(
    name="preset",
    takes=one_of(PRESETS_OF_RECIPES),
    help="options that belong together",
    owners=tuple(recipe.name for recipe in RECIPES.values() if recipe.presets),
)


def parse_arm(arguments: Arguments, model: ModelConfig) -> Arm:
    """The arm that a command line describes.

    Options that its recipe or its model does not have become problems. Where the recipe itself is unknown the
    baseline stands in, so that the rest of the command line can be checked.
    """
    given = arguments.given([option.key for option in RECIPE_OPTIONS])
    recipe = RECIPES.get(arguments.argument)
    if recipe is None:
        return Arm(name=BASELINE.name, recipe=BASELINE.name)
    for key in given:
        if key not in recipe.options:
            has = ", ".join(map(as_flag, recipe.options)) or "none"
            arguments.add(f"{as_flag(key)}: recipe {recipe.name} has no such option; it has {has}")
    options: dict[str, Any] = {key: value for key, value in given.items() if key in recipe.options}
    preset = arguments["preset"]
    if preset in recipe.presets:
        options = {**recipe.presets[preset], **options}
    elif preset:
        arguments.add(
            f"--preset {preset}: recipe {recipe.name} has no such preset; "
            f"{' and '.join(PRESETS_OF_RECIPES[preset])} have it"
        )
    arguments.attempt(lambda: recipe.schedule(model, 2 * _AMPLE_TOKENS, _AMPLE_TOKENS, options))
    return Arm(name=recipe.name, recipe=recipe.name, options=options)
