"""Configs that are refused, and the entries that they leave out."""

from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.config import MODEL_TYPES, make_config, parse_config
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS

LLAMA: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4,
    "intermediate_size": 96, "max_position_embeddings": 128, "vocab_size": 100,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "model_type": "gpt2", "n_layer": 4, "n_embd": 64, "n_head": 4, "n_positions": 128, "vocab_size": 100,
}  # fmt: skip
SLIDING = {"use_sliding_window": True, "sliding_window": 64}

MISTRAL = LLAMA | {"model_type": "mistral", "num_key_value_heads": 4}
QWEN2 = LLAMA | {"model_type": "qwen2"}

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {  # the config, the entry that is at fault, what is said
    "no type": ({}, "model_type", "is None: this kind of model is not trained: use gpt2, llama, mistral"),
    "another type": (
        {"model_type": "gemma3_text"},
        "model_type",
        "of x is 'gemma3_text': this kind of model is not",
    ),
    "a window": (
        MISTRAL | {"sliding_window": 64},
        "sliding_window",
        "is 64: only attention to all earlier tokens",
    ),
    "the default window": (MISTRAL | {"max_position_embeddings": 8192}, "sliding_window", "set max_position_emb"),
    "a window above": (
        QWEN2 | SLIDING | {"max_window_layers": 2},
        "sliding_window",
        "is 64: only attention to all",
    ),
    "other attention": (
        LLAMA | {"layer_types": ["linear_attention"]},
        "layer_types",
        "is ['linear_attention']: only",
    ),
    "another activation": (LLAMA | {"hidden_act": "gelu"}, "hidden_act", "is 'gelu': only SiLU is trained"),
    "exact GELU": (GPT2 | {"activation_function": "gelu"}, "activation_function", "only GELU in tanh form"),
    "scaled by depth": (
        GPT2 | {"scale_attn_by_inverse_layer_idx": True},
        "scale_attn_by_inverse_layer_idx",
        "True",
    ),
    "unscaled": (
        GPT2 | {"scale_attn_weights": False},
        "scale_attn_weights",
        "is False: attention without scaling",
    ),
    "cross-attention": (
        GPT2 | {"add_cross_attention": True},
        "add_cross_attention",
        "cross-attention is not trained",
    ),
    "rotated in part": (
        LLAMA | {"partial_rotary_factor": 0.5},
        "partial_rotary_factor",
        "rotated in part are not",
    ),
    "dynamic positions": (
        LLAMA | {"rope_scaling": {"type": "dynamic"}},
        "rope_scaling",
        "of type dynamic are not",
    ),
    "positions by block": (
        LLAMA | {"rope_parameters": {"full_attention": {}}},
        "rope_parameters",
        "between blocks",
    ),
    "no factor": (LLAMA | {"rope_scaling": {"rope_type": "linear"}}, "factor", "of rope_scaling in x is missing"),
    "biases of the MLP alone": (LLAMA | {"mlp_bias": True}, "mlp_bias", "biases in the MLP alone are not trained"),
    "quantized": (LLAMA | {"quantization_config": {"bits": 4}}, "quantization_config", "{'bits': 4}: quantized"),
    "a classifier": (LLAMA | {"architectures": ["LlamaForTokenClassification"]}, "architectures", "only language"),
    "no depth": (
        LLAMA | {"num_hidden_layers": None},
        "num_hidden_layers",
        "is missing: it must be a whole number",
    ),
    "a depth of text": (LLAMA | {"num_hidden_layers": "4"}, "num_hidden_layers", "'4': it must be a whole number"),
    "an epsilon of text": (LLAMA | {"rms_norm_eps": "tiny"}, "rms_norm_eps", "is 'tiny': it must be a number"),
    "a switch of text": (LLAMA | {"tie_word_embeddings": "no"}, "tie_word_embeddings", "it must be true or false"),
    "no whole heads": (LLAMA | {"num_attention_heads": 5}, "width", "64 is not a multiple of heads 5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_trained_is_refused_by_name(case: str):
    config, entry, words = REFUSED[case]
    with pytest.raises(InvalidValueError) as refusal:
        parse_config(config, "x")
    assert refusal.value.field == entry and words in str(refusal.value)


@pytest.mark.parametrize(
    "config",
    [
        QWEN2 | SLIDING,  # only blocks above the 28th slide
        LLAMA | {"model_type": "qwen3", "sliding_window": 64, "use_sliding_window": False},
        MISTRAL | {"sliding_window": None},
        MISTRAL | {"sliding_window": 128},
        LLAMA | {"layer_types": ["full_attention"] * 4, "architectures": ["LlamaForCausalLM"]},
        GPT2 | {"architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1},
    ],
)
def test_a_window_that_has_no_effect_is_accepted(config: dict[str, Any]):
    assert parse_config(config, "x").depth == 4


def test_rotary_positions_are_read_in_the_forms_of_versions_4_and_5():
    scaling = {"factor": 2.0, "rope_type": "linear"}
    old = parse_config(LLAMA | {"rope_theta": 5e5, "rope_scaling": scaling}, "x")
    new = parse_config(LLAMA | {"rope_parameters": scaling | {"rope_theta": 5e5}}, "x")
    assert old == new and (old.rope_base, old.rope_scaling) != (1e4, None)
    assert parse_config(LLAMA, "x").rope_base == 1e4


@pytest.mark.parametrize("model", PRESETS.values(), ids=PRESETS)
def test_every_preset_becomes_a_config_and_the_same_model_again(model: ModelConfig):
    config = make_config(model)
    assert config["model_type"] in MODEL_TYPES
    assert parse_config(config, model.name) == model


def test_a_model_that_transformers_does_not_have_has_no_config():
    model = ModelConfig(
        name="x", family="llama", depth=1, width=8, heads=2, context=8, vocab=9, norm_position="post"
    )
    with pytest.raises(InvalidValueError, match="norm_position post and biases none is not in transformers"):
        make_config(model)
