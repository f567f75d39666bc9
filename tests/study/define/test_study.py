import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.rate import DECAY_UNITS, WSD, Constant, Cosine, Rate
from deepen.schedule.rate_piece import SHAPES
from deepen.schedule.recipe import record_recipe
from deepen.schedule.schedule import Schedule
from deepen.study.compile.keys import comparable
from deepen.study.define.evaluation import Evaluation, TaskFile
from deepen.study.define.presets import STUDIES, quickstart
from deepen.study.define.study import Arm, Study
from deepen.study.define.tuning import Tuning
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import COMPILE, ON_SPIKE, TrainSettings

SHARES = st.floats(0.01, 1, exclude_max=True)
RATE: st.SearchStrategy[Rate] = st.one_of(
    st.builds(WSD, peak=SHARES, warmup_tokens=st.integers(0, 10**9), decay_share=SHARES, final_share=SHARES),
    st.builds(
        WSD,
        warmup_share=SHARES,
        decay_in=st.sampled_from(DECAY_UNITS),
        decay_tokens=st.none() | st.integers(1, 10**9),
        decay_shape=st.sampled_from(sorted(SHAPES)),
    ),
    st.builds(Cosine, peak=SHARES, warmup_tokens=st.integers(0, 10**9), final_share=SHARES),
    st.builds(Constant, peak=SHARES),
)
SETTINGS = st.builds(
    TrainSettings,
    optimizer=st.builds(OptimizerSpec.adamw, weight_decay=SHARES, beta_2=SHARES, epsilon=SHARES),
    max_grad_norm=st.one_of(st.none(), SHARES),
    micro_batch_tokens=st.integers(0, 10**6),
    compile=st.sampled_from(COMPILE),
    activation_checkpointing=st.booleans(),
    on_spike=st.sampled_from(ON_SPIKE),
)
OPTIONS = st.dictionaries(st.text(), st.one_of(st.integers(), SHARES, st.booleans(), st.none(), st.text()))
PATHS = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1).map(Path)
LINES = st.characters(exclude_categories=["Cc", "Cs"])


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """A study with every field drawn."""
    context = draw(st.integers(1, 64))
    batch_tokens = context * draw(st.integers(1, 8))
    names = draw(st.lists(st.text(LINES), min_size=1, max_size=4, unique=True))
    task = st.builds(TaskFile, task=st.just("hellaswag"), path=PATHS)
    return Study(
        name=draw(st.text(LINES, min_size=1)),
        model=replace(PRESETS["nano"], name=draw(st.text()), depth=draw(st.integers(1, 100))),
        tokens=batch_tokens * draw(st.integers(1, 1000)),
        batch_tokens=batch_tokens,
        context=context,
        arms=tuple(
            Arm(name=name, recipe=draw(st.text()), options=draw(OPTIONS), rate=draw(st.none() | RATE))
            for name in names
        ),
        evaluation=Evaluation(
            every_tokens=draw(st.integers(1, 10**9)),
            validation_tokens=draw(st.integers(context, 10**9)),
            tasks=draw(st.lists(task, max_size=1).map(tuple)),
            tasks_every_tokens=draw(st.integers(0, 10**9)),
        ),
        seeds=tuple(draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True))),
        baseline=draw(st.sampled_from(names)),
        anchors=(draw(SHARES), 1.0),
        accountings=draw(st.sampled_from([(), ("flops",), ("flops", "paper")])),
        rate=draw(RATE),
        settings=draw(SETTINGS),
        data=draw(st.text()),
    )


@settings(max_examples=50, deadline=None)
@given(studies())
def test_a_study_read_from_its_json_is_the_same_study(study: Study):
    assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study


@pytest.mark.parametrize("name", STUDIES)
def test_the_studies_that_come_with_deepen_can_be_written_and_read(name: str):
    study = STUDIES[name]()
    assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study


def changed(**changes: Any) -> dict[str, Any]:
    return quickstart().to_json() | changes


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ([], ""),
        (changed(colour="red"), "colour"),
        ({key: entry for key, entry in quickstart().to_json().items() if key != "tokens"}, "tokens"),
        (changed(tokens="many"), "tokens"),
        (changed(tokens=True), "tokens"),
        (changed(tokens=1.5), "tokens"),
        (changed(arms={}), "arms"),
        (changed(arms=[{"name": "full", "recipe": 3}]), "arms[0].recipe"),
        (changed(arms=[{"name": "full"}]), "arms[0].recipe"),
        (changed(rate={"kind": "square"}), "rate.kind"),
        (changed(rate={"kind": []}), "rate.kind"),
        (changed(rate={"kind": "wsd", "peak": "high"}), "rate.peak"),
        (changed(rate=None), "rate"),
        (changed(settings={"max_grad_norm": "none"}), "settings.max_grad_norm"),
        (changed(settings={"optimizer": {"kind": "sgd"}}), "optimizer"),
        (changed(settings={"optimizer": {"kind": "adamw", "weight_decay": "much"}}), "weight_decay"),
        (changed(settings={"optimizer": 3}), "settings.optimizer"),
        (changed(evaluation={"every_tokens": 0, "validation_tokens": 1}), "every_tokens"),
        (changed(seeds=[1, 1]), "seeds"),
    ],
)
def test_json_that_is_not_a_study_is_refused_with_the_path(content: Any, field: str):
    with pytest.raises(InvalidValueError) as wrong:
        Study.from_json(content)
    assert wrong.value.field == field


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_json_with_any_value_replaced_is_read_or_refused(data: st.DataObject):
    content = json.loads(json.dumps(quickstart().to_json()))
    place: Any = content
    while True:
        key = data.draw(st.sampled_from([*place] if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    try:
        study = Study.from_json(content)
    except ValueError:
        return
    assert json.loads(json.dumps(study.to_json())) is not None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "half a pair \ud83c"}, "name"),
        ({"model": "nano"}, "model"),
        ({"tokens": "16k"}, "tokens"),
        ({"tokens": 1e6}, "tokens"),
        ({"context": True}, "context"),
        ({"evaluation": None}, "evaluation"),
        ({"settings": None}, "settings"),
        ({"tuning": {"rates": (1e-3, 2e-3)}}, "tuning"),
        ({"start": "runs/small"}, "start"),
        ({"rate": WSD}, "rate"),
        ({"data": None}, "data"),
        ({"tokenizer": None}, "tokenizer"),
        ({"data_dtype": 16}, "data_dtype"),
        ({"primary": None}, "primary"),
        ({"seeds_planned": 2.0}, "seeds_planned"),
        ({"arms": ()}, "arms"),
        ({"arms": ("full", "small")}, "arms"),
        ({"arms": Arm(name="full", recipe="full")}, "arms"),
        ({"seeds": 2}, "seeds"),
        ({"context": 0}, "context"),
        ({"context": 17}, "context"),
        ({"batch_tokens": 33}, "batch_tokens"),
        ({"tokens": 31}, "tokens"),
        ({"evaluation": Evaluation(every_tokens=32, validation_tokens=15)}, "validation_tokens"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (-1,)}, "seeds"),
        ({"seeds": (0.5,)}, "seeds"),
        ({"seeds": ("a",)}, "seeds"),
        ({"seeds": "01"}, "seeds"),
        ({"earlier_tokens": (640.0,)}, "earlier_tokens"),
        ({"earlier_tokens": 640}, "earlier_tokens"),
        ({"depths": 3}, "depths"),
        ({"arms": (Arm(name="full", recipe="full"), Arm(name="full", recipe="small"))}, "arms"),
        ({"baseline": "other"}, "baseline"),
        ({"anchors": (0.5,)}, "anchors"),
        ({"anchors": (1.0, 0.0)}, "anchors"),
        ({"anchors": (1.0, "x")}, "anchors"),
        ({"anchors": 1.0}, "anchors"),
        ({"continual_shares": ("x",)}, "continual_shares"),
        ({"continual_shares": 0.5}, "continual_shares"),
        ({"accountings": "flops"}, "accountings"),
        ({"accountings": ("dollars",)}, "accountings"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_field(
    change: dict[str, Any], field: str, make_study: Callable[..., Study]
):
    with pytest.raises(InvalidValueError) as wrong:
        make_study(**change)
    assert wrong.value.field == field


def test_whole_numbers_of_numpy_are_recorded_as_others(make_study: Callable[..., Study]):
    numbers = {"tokens": np.int64(48 * 32), "seeds": (np.int64(1), np.int64(2)), "depths": (np.int64(3),)}
    evaluation = Evaluation(every_tokens=np.int64(512), validation_tokens=512)  # type: ignore[arg-type]
    study = make_study(**numbers, tuning=Tuning(seed=np.int64(7)), evaluation=evaluation)  # type: ignore[arg-type]
    assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study


def shallow_first(model: ModelConfig, tokens: int, *, grow_at: float = 0.5) -> Schedule:
    """A recipe of a user's own."""
    before = round(tokens * grow_at)
    return Schedule(
        phases=(
            Phase(depth=6, tokens=before, label="shallow"),
            Phase(depth=model.depth, tokens=tokens - before, label="deep"),
        )
    )


def test_a_function_is_recorded_by_name_file_and_code_and_read_without_running_it(
    make_study: Callable[..., Study],
):
    study = make_study(arms=(Arm(name="full", recipe="full"), Arm(name="mine", recipe=shallow_first)))
    recorded = json.loads(json.dumps(study.to_json()))
    assert recorded["arms"][1]["recipe"].keys() == {"function", "file", "code"}
    arm = Study.from_json(recorded).arms[1]
    assert arm.recipe == record_recipe(shallow_first) and not callable(arm.recipe)
    assert comparable(arm) == comparable(study.arms[1]) != comparable(study.arms[0])


def test_an_arm_has_the_studys_rate_or_its_own(make_study: Callable[..., Study]):
    own = Arm(name="mine", recipe="full", rate=Cosine(peak=1e-2))
    study = make_study(arms=(Arm(name="full", recipe="full"), own))
    assert [study.rate_for(arm) for arm in study.arms] == [study.rate, own.rate]
    assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study


@pytest.mark.parametrize(
    ("arm", "problem"),
    [
        ({"recipe": None}, "recipe of arm 'mine' is None: it must be a recipe's name, or a function"),
        ({"rate": WSD}, r"rate of arm 'mine' is <class .*: write deepen.WSD"),
        ({"rate": 3e-4}, r"rate of arm 'mine' is 0.0003: write deepen.WSD\(peak=0.0003\)"),
        ({"options": [1]}, r"options of arm 'mine' are \[1\]: they must be a dict"),
        ({"options": {"growth": object()}}, "options of arm 'mine' have growth <object"),
        ({"options": {"grow_at": float("nan")}}, "options of arm 'mine' have grow_at nan"),
    ],
)
def test_an_arm_with_a_value_that_cannot_be_used_is_refused(arm: dict[str, Any], problem: str):
    with pytest.raises(InvalidValueError, match=problem):
        Arm(**({"name": "mine", "recipe": "full"} | arm))


def test_an_arm_has_the_studys_rate_with_its_own_peak(make_study: Callable[..., Study]):
    arm = Arm(name="small", recipe="small", peak=2e-2)
    study = make_study(arms=(Arm(name="full", recipe="full"), arm), rate=WSD(peak=1e-2, decay_shape="sqrt"))
    assert study.rate_for(arm) == WSD(peak=2e-2, decay_shape="sqrt")
    assert study.rate_for(study.arms[0]) == study.rate
    assert Study.from_json(study.to_json()) == study


@pytest.mark.parametrize("peak", [0.0, -1e-3, math.nan, math.inf, "high", True])
def test_a_peak_of_an_arm_that_cannot_train_is_refused(peak: Any):
    with pytest.raises(InvalidValueError, match=r"peak of arm 'small' is .*: it must be a number above 0"):
        Arm(name="small", recipe="small", peak=peak)


def test_a_peak_beside_an_arms_own_rate_is_refused():
    with pytest.raises(InvalidValueError, match="peak of arm 'small' is given beside its own rate: set the peak"):
        Arm(name="small", recipe="small", peak=1e-2, rate=WSD())


def test_a_study_whose_rate_is_a_number_is_refused(make_study: Callable[..., Study]):
    with pytest.raises(InvalidValueError, match=r"rate is 0.01: write deepen.WSD\(peak=0.01\)"):
        make_study(rate=0.01)
