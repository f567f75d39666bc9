"""A recipe as a value: what follows from its function."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, TypedDict, Unpack

import pytest

from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.option import Default, OneOf, RecipeOption
from deepen.schedule.phase import Part, Phase
from deepen.schedule.recipe import Recipe, recipe
from deepen.schedule.recipes import BASELINE, RECIPES, get_recipe
from deepen.schedule.schedule import Schedule
from deepen.schedule.trainable import TRAINABLE_SETS

MODEL = PRESETS["nano"]


def late_growth(
    model: ModelConfig,
    tokens: int,
    *,
    staged_tokens: int,
    start_depth: int | None = None,
    grow_at: float = 0.75,
    shape: Annotated[str, OneOf(("round", "square"))] = "round",
    strict: bool = False,
) -> Schedule:
    """Train shallow for most of the run,
    then grow.

    A second paragraph is not part of the summary.

    Args:
        tokens: total training tokens.
        staged_tokens: tokens of the staged part.
        start_depth: blocks before growth;
            half of the model's where left out.
        grow_at: share of the tokens before growth.
        shape, strict: two options
            with one explanation.

    Source: Nobody 2026,
    section 1.
    """
    return Schedule(phases=(Phase(depth=start_depth or 2, tokens=tokens, label=shape),))


def test_summary_source_and_options_follow_from_the_function():
    made = Recipe(name="late-growth", build=late_growth)
    assert made.summary == "Train shallow for most of the run, then grow."
    assert made.source == "Nobody 2026, section 1."
    assert made.has_staged_part and not made.is_control and made.closed_form is None
    assert list(made.options.values()) == [
        RecipeOption(
            name="start_depth",
            kind=int,
            default=None,
            help="blocks before growth; half of the model's where left out.",
        ),
        RecipeOption(name="grow_at", kind=float, default=0.75, help="share of the tokens before growth."),
        RecipeOption(
            name="shape",
            kind=str,
            default="round",
            help="two options with one explanation.",
            choices=("round", "square"),
        ),
        RecipeOption(name="strict", kind=bool, default=False, help="two options with one explanation."),
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_summary_and_a_help_text_for_each_option(name: str):
    made = RECIPES[name]
    assert made.name == name and made.summary.endswith(".")
    for option in made.options.values():
        assert option.help and option.kind in (int, float, str, bool), option.name
        is_list = option.takes_several and isinstance(option.default, tuple)
        for default in option.default if is_list else (option.default,):
            assert default is None or isinstance(default, option.kind), option.name
        if option.choices and option.default:
            assert option.default in option.choices, option.name
    for preset in made.presets.values():
        assert preset.keys() <= made.options.keys()


def several(
    model: ModelConfig,
    tokens: int,
    *,
    depths: tuple[int, ...] = (),
    grow_at: float | Sequence[float] = 0.5,
    names: list[str] | None = None,
    pair: tuple[int, str] = (1, "a"),
) -> Schedule:
    """Grow several times."""
    return Schedule(phases=(Phase(depth=2, tokens=tokens, label="all"),))


def test_an_option_can_take_several_values_of_one_type():
    options = Recipe(name="several", build=several).options
    assert [(option.kind, option.takes_one, option.takes_several) for option in options.values()] == [
        (int, False, True),
        (float, True, True),
        (str, False, True),
        (object, True, False),
    ]


class Shared(TypedDict, total=False):
    """Options of several recipes.

    Args:
        noise: how much noise.
        style: which style.
    """

    noise: Annotated[float, Default(0.5)]
    style: Annotated[str, OneOf(("plain", "bold")), Default("plain")]
    sizes: Sequence[int]


def with_shared(model: ModelConfig, tokens: int, *, depth: int = 2, **shared: Unpack[Shared]) -> Schedule:
    """Take shared options."""
    return Schedule(phases=(Phase(depth=depth, tokens=tokens, label=str(shared)),))


def test_shared_options_follow_the_recipes_own():
    made = Recipe(name="with-shared", build=with_shared)
    assert list(made.options.values()) == [
        RecipeOption(name="depth", kind=int, default=2, help=""),
        RecipeOption(name="noise", kind=float, default=0.5, help="how much noise."),
        RecipeOption(name="style", kind=str, default="plain", help="which style.", choices=("plain", "bold")),
        RecipeOption(name="sizes", kind=int, default=None, help="", takes_one=False, takes_several=True),
    ]
    assert made.schedule(MODEL, 1000, 1000, {"noise": 0.1}).phases[0].label == "{'noise': 0.1}"
    with pytest.raises(InvalidValueError, match="has no option nose: it has depth, noise, style, sizes"):
        made.schedule(MODEL, 1000, 1000, {"nose": 0.1})


def test_options_that_hold_a_name_allow_the_registered_ones():
    scope = get_recipe("two-phase").options["scope"]
    assert scope.choices == tuple(TRAINABLE_SETS)
    assert get_recipe("one-shot").options["start_depth"].kind is int


def test_which_recipes_are_controls_and_which_have_a_staged_part_or_a_closed_form():
    assert {name for name, made in RECIPES.items() if made.is_control} == {"small", "staged"}
    assert {name for name, made in RECIPES.items() if made.has_staged_part} == {"two-phase", "staged"}
    assert {name for name, made in RECIPES.items() if made.closed_form} == {"two-phase"}
    assert BASELINE.name == "full" and next(iter(RECIPES)) == "full"


@pytest.mark.parametrize("name", RECIPES)
def test_phases_of_recipes_with_a_staged_part_are_staged_or_continual(name: str):
    phases = get_recipe(name).schedule(MODEL, 200_000, 100_000, {}).phases
    parts = [phase.part for phase in phases]
    if get_recipe(name).has_staged_part:
        assert parts == [Part.STAGED] * (len(parts) - 1) + [Part.CONTINUAL]
        assert sum(phase.tokens for phase in phases if phase.part is Part.STAGED) == 100_000
    else:
        assert set(parts) == {Part.MAIN}


def test_the_closed_form_is_the_papers():
    two_phase = get_recipe("two-phase")
    for stages in (1, 4, 8, 12):
        assert two_phase.continual_share({"stages": stages}) == Fraction(5, 8) * (1 - Fraction(1, stages))
    assert two_phase.continual_share({}) == two_phase.continual_share({"stages": 4})


def test_unknown_recipes_and_options_are_refused_with_the_known_ones():
    with pytest.raises(InvalidValueError, match="recipe 'ful' is unknown: use full") as refused:
        get_recipe("ful")
    assert refused.value.allowed == tuple(RECIPES)
    with pytest.raises(InvalidValueError, match="recipe small has no option stages: it has start_depth"):
        get_recipe("small").schedule(MODEL, 1000, 1000, {"stages": 2})


@pytest.mark.parametrize(
    ("recipe", "options", "problem"),
    [
        ("two-phase", {"stages": "4"}, "stages is '4': it must be a whole number"),
        ("two-phase", {"stages": True}, "stages is True: it must be a whole number"),
        ("two-phase", {"round_down": 1}, "round_down is 1: it must be True or False"),
        ("two-phase", {"partition": 4}, "partition is 4: it must be text"),
        ("one-shot", {"grow_at": "0.5"}, "grow_at is '0.5': it must be a number or a list of numbers"),
        ("one-shot", {"noise": None}, "noise is None: it must be a number"),
        ("gradual", {"depths": [3, 6.0, 12]}, r"depths is \[3, 6.0, 12\]: it must be a whole number or a list"),
    ],
)
def test_an_option_of_the_wrong_type_is_refused(recipe: str, options: dict[str, object], problem: str):
    with pytest.raises(InvalidValueError, match=f"^{problem}"):
        get_recipe(recipe).schedule(MODEL, 200_000, 100_000, options)


def test_a_whole_number_is_a_number_and_none_leaves_the_choice_to_the_recipe():
    get_recipe("one-shot").schedule(MODEL, 200_000, 100_000, {"start_depth": None, "noise": 0})


def test_two_functions_cannot_share_a_name():
    with pytest.raises(InvalidValueError, match="recipe 'full' is defined in deepen"):
        recipe("full")(late_growth)
