"""Keys hold over time: results that were trained stay valid when the code gains what they do not use."""

from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass, replace
from enum import StrEnum
from typing import Any

import pytest

from deepen.model.presets import PRESETS
from deepen.schedule.phase import Growth
from deepen.schedule.rate import RatePiece
from deepen.study.compile.keys import canonical
from deepen.study.compile.tree import compile_study
from deepen.study.define.study import Study
from deepen.train.settings import TrainSettings


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    depth: int
    colour: Colour = Colour.RED
    sizes: tuple[int, ...] = field(default=(1, 2))
    label: str = field(default="", metadata={"identity": False})
    on_spike: str = field(default="warn", metadata={"identity": {"stop": "warn"}})


def test_the_canonical_form_has_the_fields_that_differ_from_their_default():
    assert canonical(Recipe(depth=3)) == {"type": "Recipe", "depth": 3}
    other = Recipe(depth=3, sizes=(2,), label="for people", on_spike="skip")
    assert canonical(other) == {"type": "Recipe", "depth": 3, "sizes": [2], "on_spike": "skip"}
    assert canonical(Growth(operator="stack")) == {"type": "Growth", "operator": "stack", "placement": "top"}
    piece = RatePiece(shape="constant", start=0, end=None, start_lr=0.1, end_lr=0.1)
    assert canonical(piece) == {
        "type": "RatePiece", "shape": "constant", "start": 0, "end": None, "start_lr": 0.1, "end_lr": 0.1,
    }  # fmt: skip


def test_a_field_with_a_default_that_is_added_keeps_the_canonical_form():
    grown = make_dataclass(
        "Recipe", [("fresh", float, field(default=0.5))], bases=(Recipe,), kw_only=True, frozen=True
    )
    assert canonical(grown(depth=3)) == canonical(Recipe(depth=3))
    assert canonical(grown(depth=3, fresh=0.6)) == canonical(Recipe(depth=3)) | {"fresh": 0.6}


def test_values_that_train_the_same_numbers_have_one_form():
    assert canonical(Recipe(depth=3, on_spike="stop")) == canonical(Recipe(depth=3))
    assert canonical(TrainSettings(on_spike="stop")) == canonical(TrainSettings(on_spike="warn"))
    assert canonical(TrainSettings(on_spike="skip")) != canonical(TrainSettings(on_spike="warn"))
    assert canonical(replace(PRESETS["nano"], name="mine")) == canonical(PRESETS["nano"])


@pytest.mark.parametrize(
    "change", [{"micro_batch_tokens": 64}, {"compile": "auto"}, {"activation_checkpointing": True}]
)
def test_settings_that_change_rounding_alone_keep_the_canonical_form(change: dict[str, Any]):
    assert canonical(TrainSettings(**change)) == canonical(TrainSettings())


def test_names_and_paths_keep_all_keys(make_study: Callable[..., Study]):
    study = make_study()
    other = replace(study, name="other", data="elsewhere", model=replace(study.model, name="mine"))
    assert compile_study(other, "data").nodes.keys() == compile_study(study, "data").nodes.keys()


def test_what_has_no_canonical_form_is_refused():
    with pytest.raises(TypeError, match="canonical form"):
        canonical(object())
