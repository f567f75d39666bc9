"""A recipe of a user's own: a function that is given in place of a name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import pytest

import deepen
from deepen.errors import InvalidValueError
from deepen.growth.spec import Growth
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.option import RecipeOption
from deepen.schedule.phase import Phase
from deepen.schedule.rate import WSD
from deepen.schedule.recipe import RecordedRecipe, record_recipe
from deepen.schedule.recipe_function import Build, read_name, read_options
from deepen.schedule.recipes import get_recipe
from deepen.schedule.schedule import Schedule

MODEL = PRESETS["nano"]


def late(model: ModelConfig, tokens: int, *, start_depth: int = 4, grow_at: float = 0.75) -> Schedule:
    """Train shallow for most of the run, then grow."""
    before = tokens * grow_at
    return Schedule(
        phases=(
            Phase(depth=start_depth, tokens=before, label="shallow"),  # type: ignore[arg-type]
            Phase(depth=model.depth, tokens=tokens - round(before), label="deep"),
        ),
        growth=Growth(operator="stack"),
    )


class Late:
    """A recipe with a state."""

    def __init__(self, start_depth: int) -> None:
        self.start_depth = start_depth

    def __call__(self, model: ModelConfig, tokens: int, *, grow_at: float = 0.5) -> Schedule:
        """Grow late."""
        return late(model, tokens, start_depth=self.start_depth, grow_at=grow_at)


def untyped(config, budget, share=0.5, *, name="a", kind: Literal["round", "square"] = "round", needed: "Nowhere"):  # type: ignore[no-untyped-def] # noqa: F821
    return late(config, budget, grow_at=share)


def same_phases(a: Schedule, b: Schedule) -> bool:
    return [(p.depth, p.tokens) for p in a.phases] == [(p.depth, p.tokens) for p in b.phases]


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (late, "late"),
        (lambda model, tokens: late(model, tokens), "lambda"),
        (partial(late, start_depth=4), "late"),
        (Late(4), "Late"),
    ],
)
def test_any_callable_is_a_recipe(build: Build, name: str):
    recipe = get_recipe(build)
    assert recipe.name == name and not recipe.is_part_of_deepen
    assert recipe.schedule(MODEL, 1000, 1000, {}).depth == 12


def test_the_function_of_a_registered_recipe_is_that_recipe():
    assert get_recipe(deepen.recipes.one_shot) is get_recipe("one-shot")
    assert deepen.Arm(name="x", recipe=deepen.recipes.one_shot) == deepen.Arm(name="x", recipe="one-shot")


def test_a_plan_takes_a_function_and_prices_it_like_a_registered_one():
    def as_one_shot(model: ModelConfig, tokens: int, *, start_depth: int = 6) -> Schedule:
        return deepen.recipes.one_shot(model, tokens, start_depth=start_depth)

    own = deepen.plan(as_one_shot, model="nano", options={"start_depth": 3}, steps=100)
    named = deepen.plan("one-shot", model="nano", options={"start_depth": 3}, steps=100)
    assert own.total == named.total and own.request.recipe_name == "as_one_shot"
    against = deepen.plan("full", model="nano", against=as_one_shot, steps=100)
    assert against.baseline.flops < named.baseline.flops and against.request.against_name == "as_one_shot"


def test_options_are_read_without_annotations_and_with_wrong_ones():
    options = read_options(untyped)
    assert options["share"] == RecipeOption(name="share", kind=float, default=0.5, help="")
    assert options["name"].kind is str and options["needed"].default is None
    assert read_options(late)["start_depth"].kind is int

    def chosen(
        model: ModelConfig, tokens: int, *, kind: Literal["a", "b"] = "a", sizes: tuple[int, ...] = ()
    ) -> Any: ...

    options = read_options(chosen)
    assert options["kind"].choices == ("a", "b") and options["sizes"].takes_several
    assert read_options(int) == {}  # type: ignore[arg-type]


def test_tokens_that_are_no_whole_number_are_rounded_to_steps():
    schedule = get_recipe(late).schedule(MODEL, 1001, 1001, {})
    assert [phase.tokens for phase in schedule.in_steps(10, 10).phases] == [750, 250]
    down = replace(schedule, phases=tuple(replace(phase, round_down=True) for phase in schedule.phases))
    assert [repr(phase.tokens) for phase in down.in_steps(20, 10).phases] == ["740", "240"]


def fails(model: ModelConfig, tokens: int) -> Schedule:
    raise KeyError("depth")


def exits(model: ModelConfig, tokens: int) -> Schedule:
    raise SystemExit("no\nsuch thing")


def one_phase(**changes: Any) -> Callable[[ModelConfig, int], Any]:
    def flat(model: ModelConfig, tokens: int) -> Any:
        values: dict[str, Any] = {"depth": model.depth, "tokens": tokens, "label": "all"}
        return Schedule(phases=(Phase(**(values | changes)),))

    return flat


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (fails, "recipe fails failed: KeyError: 'depth' (test_own_recipe.py, line"),
        (exits, "recipe exits failed: SystemExit: no such thing (test_own_recipe.py"),
        (lambda model: model, "recipe lambda failed: TypeError: "),
        (lambda model, tokens: None, "recipe lambda: returned None, not a deepen.Schedule"),
        (lambda model, tokens: [1], "recipe lambda: returned a value of type list, not a deepen.Schedule"),
        (one_phase(tokens=77), "recipe flat: returned 77 tokens where 1,000 were asked for: divide"),
        (one_phase(tokens=float("nan")), "recipe flat: tokens of phase 'all' is nan: it must be a number"),
        (one_phase(depth=13), "recipe flat: returned 13 layers, but the model has 12"),
        (one_phase(depth=6.0), "recipe flat: depth of phase 'all' is 6.0: it must be a whole number"),
        (one_phase(label="half a pair \ud83c"), "is 'half a pair \\ud83c': use text in one line"),
        (one_phase(depth=-1), "recipe flat: depth of phase 'all' is -1"),
        (lambda m, t: replace(late(m, t), rate=WSD(peak=0.1)), "recipe lambda: returned a schedule with a rate"),
        (lambda m, t: Schedule(phases=()), "recipe lambda: phases is empty"),
        (lambda m, t: late(m, t, start_depth=0), "recipe lambda: operator 'stack' copies blocks"),
        (lambda m, t: replace(late(m, t), growth=Growth(operator="stak")), "operator 'stak' is unknown"),
    ],
)
def test_a_function_that_fails_or_returns_something_wrong_is_named_in_one_line(build: Build, problem: str):
    with pytest.raises(InvalidValueError) as wrong:
        get_recipe(build).schedule(MODEL, 1000, 1000, {})
    assert problem in str(wrong.value) and "\n" not in str(wrong.value)
    with pytest.raises(InvalidValueError) as planned:
        deepen.plan(build, model="nano", steps=100)
    assert f"recipe {read_name(build)}" in str(planned.value)


def test_a_record_has_name_file_and_code_and_cannot_be_called():
    recorded = record_recipe(late)
    assert (
        recorded.function == "late" and recorded.file == __file__ and "before = tokens * grow_at" in recorded.code
    )
    assert record_recipe(eval("lambda m, t: None")) == RecordedRecipe(function="lambda")  # as in a notebook
    with pytest.raises(InvalidValueError, match=r"recipe late: study.json only records this function of "):
        get_recipe(recorded).schedule(MODEL, 1000, 1000, {"start_depth": 3})
