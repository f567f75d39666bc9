"""Keys are stable: earlier results stay valid when the code gains features that they do not use."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from enum import StrEnum
from typing import Any

import pytest

from deepen.growth.layout import GrownBlock
from deepen.growth.spec import Growth, GrowthStep
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.rate import WSD, Constant
from deepen.schedule.rate_piece import RatePiece
from deepen.schedule.rewarm import Rewarm
from deepen.schedule.trainable import TrainedParts
from deepen.study.compile.keys import canonical, comparable
from deepen.study.compile.tree import compile_study
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.presets import quickstart
from deepen.study.define.study import Arm, Study
from deepen.train.optim.spec import AdamWSpec, MuonSpec, OptimizerSpec
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings


def study(**changes: Any) -> Study:
    """A study that sets everything its keys depend on, so that changed presets do not affect it."""
    values: dict[str, Any] = {
        "name": "keys",
        "model": ModelConfig(name="test", depth=4, width=8, heads=2, context=16, vocab=512),
        "tokens": 100 * 32,
        "batch_tokens": 32,
        "context": 16,
        "arms": (
            Arm(name="full", recipe="full"),
            Arm(name="two-phase", recipe="two-phase", options={"stages": 2}),
            Arm(name="one-shot", recipe="one-shot", options={"start_depth": 2, "operator": "stack"}),
        ),
        "evaluation": Evaluation(every_tokens=320, validation_tokens=512),
        "anchors": (1.0,),
        "accountings": ("flops",),
        "rate": WSD(peak=1e-2, warmup_tokens=96),
    }
    return Study(**(values | changes))


LLAMA = ModelConfig(
    name="test", family="llama", depth=4, width=8, heads=2, kv_heads=1, context=16, vocab=512, tied=False
)
OTHER_SETTINGS = TrainSettings(
    optimizer=OptimizerSpec.adamw(weight_decay=0.2), max_grad_norm=None, precision="bf16", on_spike="skip"
)
KEYS = {
    "the baseline": (study(), 0, "457de11ed1f8fe00"),
    "a staged arm": (study(), 1, "ce3d4b313307ea0f"),
    "an arm that grows once": (study(), 2, "b7365f46cc2e2313"),
    "another model, seed and rate": (
        study(model=LLAMA, seeds=(7,), rate=Constant(peak=1e-3)),
        0,
        "300e1aaccf678302",
    ),
    "other settings": (study(settings=OTHER_SETTINGS), 2, "9675501ecdb0b771"),
    "muon": (study(settings=TrainSettings(optimizer=OptimizerSpec.muon())), 2, "cb02eb6c8eb2384b"),
}
"""A study, the index of a route, and the key at its end for data with fingerprint "data". If a key changes, all
existing results must be trained again: this needs a higher FORMAT and a line in the changelog."""


@pytest.mark.parametrize("case", KEYS)
def test_keys_are_those_of_earlier_versions(case: str):
    named, route, key = KEYS[case]
    assert compile_study(named, "data").routes[route].keys[-1] == key


DEFAULTS: dict[type, dict[str, Any]] = {
    ModelConfig: {
        "family": "gpt2", "kv_heads": 0, "mlp": 0, "tied": True, "rope_base": 10000.0, "init_std": 0.02,
        "head_dim": 0, "biases": "", "qk_norm": "none", "norm_position": "pre", "norm_epsilon": 1e-5,
        "parametrization": "standard",
        "rope_scaling": None,
    },
    TrainSettings: {
        "optimizer": {"type": "AdamWSpec"}, "max_grad_norm": 1.0, "precision": "fp32", "on_spike": "warn",
    },
    AdamWSpec: {
        "state_precision": "fp32", "weight_decay": 0.1, "beta_1": 0.9, "beta_2": 0.95, "epsilon": 1e-8,
    },
    MuonSpec: {
        "state_precision": "fp32", "weight_decay": 0.1, "beta_1": 0.9, "beta_2": 0.95, "epsilon": 1e-8,
        "momentum": 0.95, "iterations": 5, "lr_factor": 1.0,
    },
    TrainedParts: {"norms": False, "layers": []},
    GrowthStep: {"moments": "keep", "noise": 0.0},
    Rewarm: {"blocks": []},
    GrownBlock: {"residual_scale": 1.0, "upper_source": None, "upper_share": 0.0},
    Segment: {"changes_context": False, "rewarm": None},
}  # fmt: skip
"""The defaults that keys leave out. A new default needs a higher FORMAT. A new field needs an entry here, with the
value at which the code does what it did before."""


@pytest.mark.parametrize("kind", [*DEFAULTS, RatePiece], ids=lambda kind: kind.__name__)
def test_the_defaults_that_keys_leave_out_are_unchanged(kind: type):
    defaults = {
        each.name: canonical(each.default if each.default is not MISSING else each.default_factory())
        for each in fields(kind)
        if each.metadata.get("identity", True) not in (False, "rounding")
        and (each.default is not MISSING or each.default_factory is not MISSING)
    }
    assert defaults == DEFAULTS.get(kind, {})


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    depth: int
    colour: Colour = Colour.RED
    sizes: tuple[int, ...] = field(default=(1, 2))
    label: str = field(default="", metadata={"identity": False})
    on_spike: str = field(default="warn", metadata={"same": {"stop": "warn"}})


def test_the_canonical_form_has_the_fields_that_differ_from_their_default():
    assert canonical(Recipe(depth=3)) == {"type": "Recipe", "depth": 3}
    other = Recipe(depth=3, sizes=(2,), label="for people", on_spike="skip")
    assert canonical(other) == {"type": "Recipe", "depth": 3, "sizes": [2], "on_spike": "skip"}
    assert canonical(GrownBlock(source=0, is_new=True)) == {"type": "GrownBlock", "source": 0, "is_new": True}
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
    "change",
    [{"micro_batch_tokens": 64}, {"compile": "no"}, {"compile": "yes"}, {"activation_checkpointing": True}],
)
def test_settings_that_only_change_rounding_keep_the_canonical_form(change: dict[str, Any]):
    assert canonical(TrainSettings(**change)) == canonical(TrainSettings())


def test_two_runs_of_one_study_agree_on_rounding_too_but_not_on_paths():
    one, other = quickstart(), replace(quickstart(), data="elsewhere")
    assert comparable(one) == comparable(other)
    changes = ({"compile": "yes"}, {"on_spike": "skip"}, {"precision": "bf16"})
    for change in changes:
        assert comparable(replace(one, settings=replace(one.settings, **change))) != comparable(one)
    assert comparable(replace(one, settings=TrainSettings(on_spike="stop"))) == comparable(one)
    assert comparable(replace(one, settings=TrainSettings(compile="no"))) == comparable(one)  # older default
    less_memory = replace(one.settings, micro_batch_tokens=64, checkpoint_to_fit=False, reduce_once=True)
    assert comparable(replace(one, settings=less_memory)) == comparable(one)  # a run that had no memory
    recomputed = replace(one, settings=replace(one.settings, activation_checkpointing=True))
    assert recomputed.ledger != one.ledger and comparable(recomputed) != comparable(one)  # other FLOPs in the logs
    assert comparable(Growth())["operator"] == "random"  # included, so that messages can name it


def test_names_and_paths_keep_all_keys(make_study: Callable[..., Study]):
    study = make_study()
    other = replace(study, name="other", data="elsewhere", model=replace(study.model, name="mine"))
    assert compile_study(other, "data").nodes.keys() == compile_study(study, "data").nodes.keys()


def test_a_value_without_canonical_form_is_refused():
    with pytest.raises(TypeError, match="canonical form"):
        canonical(object())
