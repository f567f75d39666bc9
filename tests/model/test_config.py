"""Model sizes: which are refused, and which have defaults."""

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.model.config import ModelConfig
from deepen.model.rope_scaling import LinearScaling, Llama3Scaling, RopeScaling, YarnScaling, parse_rope_scaling
from deepen.schedule.json_form import from_json, to_json

SIZES = ("depth", "width", "heads", "kv_heads", "mlp", "context", "vocab")


def config(**changes: object) -> ModelConfig:
    sizes = {"depth": 2, "width": 24, "heads": 6, "context": 8, "vocab": 10}
    return ModelConfig(name="test", **(sizes | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"family": "gtp2"}, ("family 'gtp2'", "gpt2 or llama")),
        *(({size: -8}, (f"{size} is -8", "at least 1")) for size in SIZES),
        *(({size: 0}, (f"{size} is 0", "at least 1")) for size in SIZES if size not in ("kv_heads", "mlp")),
        ({"vocab": 10.5}, ("vocab is 10.5", "whole number")),
        ({"width": None}, ("width is None", "whole number")),
        ({"family": ["llama"]}, ("family ['llama']", "gpt2 or llama")),
        ({"rope_base": 0.0}, ("rope_base is 0.0", "above 0")),
        ({"init_std": float("nan")}, ("init_std is nan", "above 0")),
        ({"heads": 5}, ("width 24", "heads 5", "multiple")),
        ({"family": "llama", "kv_heads": 4}, ("heads 6", "kv_heads 4", "multiple")),
        ({"family": "llama", "kv_heads": 12}, ("heads 6", "kv_heads 12", "multiple")),
        ({"kv_heads": 3}, ("kv_heads is 3", "as many as heads, 6", "family llama")),
        ({"family": "llama", "heads": 8}, ("width / heads is 3", "must be even")),
        ({"family": "llama", "head_dim": 7}, ("head_dim is 7", "must be even")),
        ({"family": "llama", "head_dim": -8}, ("head_dim is -8", "at least 1", "width / heads")),
        ({"family": "llama", "biases": "some"}, ("biases 'some'", "none, qkv, attention or all")),
        ({"family": "llama", "qk_norm": "both"}, ("qk_norm 'both'", "none, per-head or all-heads")),
        ({"family": "llama", "norm_position": "in"}, ("norm_position 'in'", "pre or post")),
        ({"norm_epsilon": 0}, ("norm_epsilon is 0", "above 0")),
        ({"biases": "none"}, ("biases 'none'", "use all")),
        ({"head_dim": 8}, ("head_dim is 8", "gpt2 takes only 0", "use family llama")),
        (
            {"rope_scaling": LinearScaling(factor=2)},
            ("rope_scaling is LinearScaling", "gpt2 takes only None"),
        ),
    ],
)
def test_an_impossible_model_is_refused_with_field_value_and_remedy(
    changes: dict[str, object], expected: tuple[str, ...]
):
    with pytest.raises(ValueError) as refusal:
        config(**changes)
    assert all(words in str(refusal.value) for words in expected), refusal.value


def test_an_odd_head_width_is_allowed_without_rotary_positions():
    assert config(heads=8).head_width == 3


def test_what_is_as_by_default_is_equal_to_it():
    assert config(family="llama", head_dim=4, biases="none") == config(family="llama")
    assert config(biases="all") == config()


def test_head_width_is_independent_of_width_and_heads_if_it_is_given():
    wide = config(family="llama", head_dim=10, heads=7, kv_heads=1)
    assert (wide.head_width, wide.query_width, wide.key_width) == (10, 70, 10)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearScaling(factor=0), "factor is 0: it must be a number above 0"),
        (lambda: Llama3Scaling(factor=8.0, original_context=0), "original_context is 0"),
        (lambda: YarnScaling(factor=-4.0, original_context=9), "factor is -4.0: it must be a number above 0"),
        (lambda: YarnScaling(factor=4.0, original_context=9, attention_factor=-1.0), "attention_factor is -1"),
        (
            lambda: Llama3Scaling(factor=8.0, original_context=9, low_frequency=4.0),
            "must be below high_frequency 4",
        ),
    ],
)
def test_an_impossible_scaling_is_refused(make: Callable[[], object], words: str):
    with pytest.raises(ValueError, match=words):
        make()


YARN = YarnScaling(factor=4.0, original_context=32768)


@pytest.mark.parametrize(
    "scaling", [None, LinearScaling(factor=2.0), Llama3Scaling(factor=8.0, original_context=8192), YARN]
)
def test_a_model_survives_json(scaling: RopeScaling | None):
    model = config(family="llama", qk_norm="per-head", rope_scaling=scaling)
    assert from_json(ModelConfig, json.loads(json.dumps(to_json(model)))) == model
    assert parse_rope_scaling(json.loads(json.dumps(asdict(model)))["rope_scaling"]) == scaling


def test_kv_heads_default_to_heads():
    assert (config().kv_heads, config(family="llama").kv_heads) == (6, 6)
    assert config(family="llama", kv_heads=2).kv_heads == 2


@given(st.integers(1, 20_000).map(lambda half: 2 * half))
def test_the_mlp_width_defaults_to_the_familys(width: int):
    gpt2, llama = (config(family=family, width=width, heads=1).mlp for family in ("gpt2", "llama"))
    assert gpt2 == 4 * width
    # Three matrices with as many weights as GPT-2's two, or a few more.
    assert llama % 8 == 0 and 0 <= llama - 8 / 3 * width < 8
    assert config(family="llama", width=width, heads=1, mlp=7).mlp == 7
