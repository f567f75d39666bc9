"""Model sizes: which are refused, and which have defaults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.model.config import ModelConfig

SIZES = ("depth", "width", "heads", "kv_heads", "mlp", "context", "vocab")


def config(**changes: object) -> ModelConfig:
    sizes = {"depth": 2, "width": 24, "heads": 6, "context": 8, "vocab": 10}
    return ModelConfig(name="test", **(sizes | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"family": "gtp2"}, ("family 'gtp2'", "gpt2, llama")),
        *(({size: -8}, (f"{size} is -8", "at least 1")) for size in SIZES),
        *(({size: 0}, (f"{size} is 0", "at least 1")) for size in SIZES if size not in ("kv_heads", "mlp")),
        ({"vocab": 10.5}, ("vocab is 10.5", "whole number")),
        ({"width": None}, ("width is None", "whole number")),
        ({"family": ["llama"]}, ("family ['llama']", "gpt2, llama")),
        ({"rope_base": 0.0}, ("rope_base is 0.0", "above 0")),
        ({"init_std": float("nan")}, ("init_std is nan", "above 0")),
        ({"heads": 5}, ("width 24", "heads 5", "multiple")),
        ({"family": "llama", "kv_heads": 4}, ("heads 6", "kv_heads 4", "multiple")),
        ({"family": "llama", "kv_heads": 12}, ("heads 6", "kv_heads 12", "multiple")),
        ({"kv_heads": 3}, ("kv_heads is 3", "as many as heads, 6", "family llama")),
        ({"family": "llama", "heads": 8}, ("width / heads is 3", "must be even")),
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
