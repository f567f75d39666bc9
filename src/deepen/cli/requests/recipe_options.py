"""Options of recipes, taken from the recipes themselves: a new recipe with new options needs no change here."""

from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from deepen.cli.requests.command import Command, Option, OptionGroup, as_flag
from deepen.cli.requests.parser import Arguments, parse_arguments
from deepen.cli.requests.user_file import find_recipe, read_recipe
from deepen.cli.requests.value_types import (
    TEXT,
    ValueType,
    comma_separated,
    one_of,
    read_number,
    read_text,
    whole_number,
)
from deepen.model.config import ModelConfig
from deepen.schedule.option import RecipeOption
from deepen.schedule.recipe import Recipe
from deepen.schedule.recipes import BASELINE, RECIPES
from deepen.study.define.study import Arm

_AMPLE_TOKENS = 10**12
"""A budget that every recipe can be built with: what is wrong with its options has other reasons then."""


def _read_any(text: str) -> Any:
    """A number, a list, True, False or None as Python writes them; else the text itself."""
    text = read_text(text)
    try:
        return literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError, ValueError):
        return text


def _read_truth(text: str) -> bool:
    return bool(one_of(("true", "false")).read(text) == "true")


_TRUTH = ValueType(metavar="true|false", read=_read_truth, names=("true", "false"))
"""For an option that is true where it is left out; a switch could not make it false."""


def _value_type(option: RecipeOption) -> ValueType | None:
    """What an option takes; None makes it a switch."""
    if option.takes_several:
        return comma_separated(_single_value_type(option), or_one=option.takes_one)
    if option.kind is bool and not option.default:
        return None
    return _single_value_type(option)


def _single_value_type(option: RecipeOption) -> ValueType:
    """The type of one value of an option; the range of numbers is checked by the recipe."""
    if option.kind is bool:
        return _TRUTH
    if option.kind is int:
        return whole_number(minimum=-(10**9), maximum=10**9)
    if option.kind is float:
        return ValueType(metavar="X", read=read_number, number=float)
    if option.is_open:
        return replace(TEXT, names=option.choices)
    if option.choices:
        return one_of(option.choices)
    if option.kind is str:
        return TEXT
    return ValueType(metavar="VALUE", read=_read_any)


def _make_option(name: str, recipes: Sequence[Recipe]) -> Option:
    """An option that one recipe or several have."""
    owners = {recipe.name: recipe.options[name] for recipe in recipes if name in recipe.options}
    first, defaults = next(iter(owners.values())), {str(option.default) for option in owners.values()}
    takes = _value_type(first)
    default_help = "the recipe's own"
    if len(defaults) == 1 and first.default is not None:
        default_help = "none" if first.default in ("", ()) else str(first.default).lower()
    return Option(
        name=name.replace("_", "-"),
        takes=takes,
        help=first.help.rstrip("."),
        default_help="" if takes is None else default_help,
        owners=tuple(owners),
    )


RECIPE_OPTIONS = tuple(
    _make_option(name, tuple(RECIPES.values()))
    for name in dict.fromkeys(name for recipe in RECIPES.values() for name in recipe.options)
)
"""The options of all recipes."""


def write_options(recipe: Recipe, options: Mapping[str, Any]) -> list[str]:
    """The words of a command line that give a recipe its options: `--stages 4 --round-down`."""
    return [word for name, value in options.items() for word in _make_option(name, (recipe,)).write(value)]


PRESETS_OF_RECIPES = {
    name: tuple(recipe.name for recipe in RECIPES.values() if name in recipe.presets)
    for name in dict.fromkeys(name for recipe in RECIPES.values() for name in recipe.presets)
}
"""Every preset by name, with the recipes that have it."""

PRESET_OPTION = Option(
    name="preset",
    takes=one_of(PRESETS_OF_RECIPES),
    help="options that belong together",
    default_help="none",
    owners=tuple(recipe.name for recipe in RECIPES.values() if recipe.presets),
)


def parse_recipe(command: Command, argv: Sequence[str]) -> tuple[Arguments, Recipe | None]:
    """A command line, and the recipe that it names; None where there is none.

    A recipe in a file, such as `./mine.py:my_recipe`, brings its own options.
    """
    text = find_recipe(argv, tuple(command.options))
    if not text:
        arguments = parse_arguments(command, argv)
        return arguments, RECIPES.get(arguments.argument)
    assert command.argument is not None
    command = replace(command, argument=replace(command.argument, names=()))
    try:
        recipe = read_recipe(text)
    except ValueError as error:
        arguments = parse_arguments(command, argv)
        arguments.add(str(error))
        return arguments, None
    others = [option.key for option in command.options if option not in (*RECIPE_OPTIONS, PRESET_OPTION)]
    taken = recipe.options.keys() & set(others)
    group = OptionGroup(title=f"Recipe {recipe.name}", options=tuple(_own_options(recipe, taken)))
    groups = tuple(group if RECIPE_OPTIONS[0] in each.options else each for each in command.groups)
    arguments = parse_arguments(replace(command, groups=groups), argv)
    for name in sorted(taken):
        arguments.add(
            f"recipe {recipe.name}: {as_flag(name)} is an option of deepen {command.name}: rename the argument"
        )
    return arguments, recipe


def _own_options(recipe: Recipe, taken: Set[str]) -> Iterator[Option]:
    """The options of a recipe in a file, without those whose names are taken."""
    for name in recipe.options:
        if name not in taken:
            made = _make_option(name, (recipe,))
            yield replace(made, owners=(), help=made.help or f"an argument of {recipe.name}")


def parse_arm(
    arguments: Arguments, model: ModelConfig, recipe: Recipe | None, start_depth: int | None = None
) -> Arm:
    """The arm that a command line describes.

    Args:
        arguments: the command line.
        model: the model.
        recipe: the recipe; None if it is unknown.
        start_depth: what recipes with an option of this name get where it is left out.

    Options that its recipe or its model does not have become problems. Where the recipe itself is unknown the
    baseline stands in, so that the rest of the command line can be checked.
    """
    baseline = Arm(name=BASELINE.name, recipe=BASELINE.name)
    if recipe is None:
        return baseline
    _rename_trainable(arguments, recipe)
    for option in RECIPE_OPTIONS:
        if option.key in arguments and option.key not in recipe.options:
            has = ", ".join(map(as_flag, recipe.options)) or "none"
            arguments.add(f"{option.flag}: recipe {recipe.name} has no such option; it has {has}")
    options = arguments.given(tuple(recipe.options))
    if start_depth is not None and "start_depth" in recipe.options:
        options.setdefault("start_depth", start_depth)
    preset = arguments.get("preset", "")
    if preset in recipe.presets:
        options = {**recipe.presets[preset], **options}
    elif preset:
        arguments.add(
            f"--preset {preset}: recipe {recipe.name} has no such preset; "
            f"{' and '.join(PRESETS_OF_RECIPES[preset])} have it"
        )

    def make_arm() -> Arm:
        recipe.schedule(model, 2 * _AMPLE_TOKENS, _AMPLE_TOKENS, options)
        return Arm(name=recipe.name_run(options), recipe=recipe.build, options=options)

    return arguments.attempt(make_arm) or baseline


_TRAINABLE = ("train", "scope")
"""What recipes call the option that says what is trained; a command line can use either."""


def _rename_trainable(arguments: Arguments, recipe: Recipe) -> None:
    """Give the option that says what is trained the name that it has in a recipe."""
    given = [name for name in _TRAINABLE if name in arguments]
    for name in given:
        arguments.spellings |= dict.fromkeys(_TRAINABLE, as_flag(name))
    own = [name for name in _TRAINABLE if name in recipe.options]
    if len(given) > 1 and own:
        arguments.add(f"{' and '.join(map(as_flag, given))} both say what is trained: give one")
        for name in given:
            del arguments.values[name]
    elif given and own:
        arguments.values[own[0]] = arguments.values.pop(given[0])
