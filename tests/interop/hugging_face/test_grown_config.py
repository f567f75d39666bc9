"""The config of a grown model: each block is described as the block that it is like."""

from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.block_list import BlockList
from deepen.interop.hugging_face.grown_config import make_grown_config

DOUBLED = (0, 0, 1, 1, 2, 2, 3, 3)
STACKED = (0, 1, 2, 3, 0, 1, 2, 3)


def grown(config: dict[str, Any], sources: tuple[int, ...], extra: int = 0) -> dict[str, Any]:
    return make_grown_config(config, BlockList(prefix="model.layers.", depth=4, extra=extra), sources)


def test_the_depth_changes_under_every_name_and_the_rest_stays():
    config = {"model_type": "mine", "n_layer": 4, "num_hidden_layers": 4, "width": 4, "eos_token_id": [1, 2, 3, 4]}
    assert grown(config, DOUBLED) == config | {"n_layer": 8, "num_hidden_layers": 8}
    assert config["n_layer"] == 4


def test_lists_and_patterns_per_block_follow_their_blocks():
    config = {
        "model_type": "mine",
        "num_hidden_layers": 4,
        "layer_types": ["s", "s", "s", "f"],
        "intermediate_size": [10, 20, 30, 40],
        "hybrid_override_pattern": "M*M-",
        "architectures": ["A", "B", "C", "D"],
    }
    assert grown(config, STACKED) == config | {
        "num_hidden_layers": 8,
        "layer_types": ["s", "s", "s", "f"] * 2,
        "intermediate_size": [10, 20, 30, 40] * 2,
        "hybrid_override_pattern": "M*M-M*M-",
    }


def test_entries_of_blocks_that_predict_later_tokens_stay_at_the_end():
    config = {"model_type": "mine", "num_hidden_layers": 4, "kinds": ["a", "b", "c", "d", "extra"]}
    assert grown(config, (0, 1, 1, 2, 3), extra=1)["kinds"] == ["a", "b", "b", "c", "d", "extra"]


@pytest.mark.parametrize(
    ("key", "value", "sources", "expected"),
    [
        ("first_k_dense_replace", 2, DOUBLED, 4),
        ("first_k_dense_replace", 0, STACKED, 0),
        ("first_k_dense_replace", 9, STACKED, 8),
        ("mlp_only_layers", [0, 3], DOUBLED, [0, 1, 6, 7]),
        ("mlp_only_layers", [0, 3], STACKED, [0, 3, 4, 7]),
        ("moe_layer_start_index", 1, DOUBLED, 2),
        ("moe_layer_end_index", 2, DOUBLED, 5),
        ("decoder_sparse_step", 2, STACKED, 2),
        ("decoder_sparse_step", 1, DOUBLED, 1),
        ("moe_layer_freq", [0, 1, 1, 1], DOUBLED, [0, 0, 1, 1, 1, 1, 1, 1]),
        ("sliding_window_pattern", 2, STACKED, 2),
    ],
)
def test_rules_by_position_are_adjusted(key: str, value: Any, sources: tuple[int, ...], expected: Any):
    config = {"model_type": "mine", "num_hidden_layers": 4, key: value}
    assert grown(config, sources)[key] == expected


@pytest.mark.parametrize(
    ("key", "value", "sources", "blocks"),
    [
        ("first_k_dense_replace", 2, STACKED, (4, 0)),
        ("decoder_sparse_step", 2, DOUBLED, (1, 0)),
        ("attn_layer_period", 4, (0, 1, 2, 3, 3), (4, 3)),
        ("sliding_window_pattern", 2, DOUBLED, (1, 0)),
    ],
)
def test_a_layout_that_changes_the_kind_of_a_block_is_refused(
    key: str, value: Any, sources: tuple[int, ...], blocks: tuple[int, int]
):
    with pytest.raises(InvalidValueError, match=f"{key} {value} in its config.json gives blocks") as refused:
        grown({"model_type": "mine", "num_hidden_layers": 4, key: value}, sources)
    assert f"so block {blocks[0]} cannot be like block {blocks[1]}" in str(refused.value)


def test_a_list_of_kinds_replaces_a_rule():
    config = {
        "model_type": "mine",
        "num_hidden_layers": 4,
        "sliding_window_pattern": 2,
        "layer_types": ["s", "f", "s", "f"],
    }
    assert grown(config, DOUBLED)["layer_types"] == ["s", "s", "f", "f", "s", "s", "f", "f"]


SIZES = {"num_hidden_layers": 4, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
WINDOW, FULL = "sliding_attention", "full_attention"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "gemma2"}, [WINDOW, WINDOW, FULL, FULL] * 2),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 2}, [WINDOW, WINDOW, FULL, FULL] * 2),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 3},
            [FULL] * 6 + [WINDOW] * 2,
        ),
    ],
)
def test_lists_that_transformers_makes_itself_are_written_out_where_they_would_change(
    config: dict[str, Any], expected: list[str]
):
    transformers = pytest.importorskip("transformers")
    new = grown(SIZES | config, DOUBLED)
    made = transformers.AutoConfig.for_model(**new)
    assert made.layer_types == expected and made.num_hidden_layers == 8


def test_nothing_is_added_where_the_rule_still_holds():
    config = SIZES | {"model_type": "gemma2"}
    assert grown(config, STACKED) == config | {"num_hidden_layers": 8}


def test_the_kinds_of_gpt_neo_follow_their_blocks():
    config = {
        "model_type": "gpt_neo",
        "num_layers": 4,
        "attention_types": [[["global", "local"], 2]],
        "attention_layers": ["global", "local", "global", "local"],
        "hidden_size": 32,
        "num_heads": 4,
    }
    wanted = ["global", "global", "local", "local"] * 2
    assert grown(config, DOUBLED) == config | {
        "num_layers": 8,
        "attention_types": [[wanted, 1]],
        "attention_layers": wanted,
    }


def test_the_language_models_part_of_a_config_is_changed():
    config = {
        "model_type": "mine",
        "text_config": {"num_hidden_layers": 4, "layer_types": ["a", "b", "c", "d"]},
        "vision_config": {"num_hidden_layers": 4, "layer_types": ["a", "b", "c", "d"]},
    }
    assert grown(config, (0, 1, 2, 2, 3)) == config | {
        "text_config": {"num_hidden_layers": 5, "layer_types": ["a", "b", "c", "c", "d"]}
    }


def test_names_of_modules_that_are_not_quantized_follow_their_blocks():
    config = {
        "model_type": "mine",
        "num_hidden_layers": 4,
        "quantization_config": {"bits": 4, "ignored": ["lm_head", "model.layers.1.mlp.gate", "model.layers.3"]},
    }
    assert grown(config, (0, 1, 1, 2, 3))["quantization_config"] == {
        "bits": 4,
        "ignored": ["lm_head", "model.layers.1.mlp.gate", "model.layers.2.mlp.gate", "model.layers.4"],
    }


def test_a_residual_scale_that_depends_on_the_depth_stays_what_it_is():
    config = {"model_type": "mine", "num_hidden_layers": 4, "scale_depth": 1.4}  # MiniCPM: 1.4 / sqrt(depth)
    assert grown(config, DOUBLED)["scale_depth"] / 8**0.5 == pytest.approx(1.4 / 4**0.5)


@pytest.mark.parametrize(
    ("key", "value"),
    [("scale_attn_by_inverse_layer_idx", True), ("num_kv_shared_layers", 2), ("hidden_size_per_layer_input", 16)],
)
def test_models_whose_blocks_depend_on_one_another_are_refused_by_name(key: str, value: Any):
    config = {"model_type": "mine", "num_hidden_layers": 4, key: value}
    with pytest.raises(InvalidValueError, match=f"cannot be grown: with {key} {value} in config.json"):
        grown(config, DOUBLED)
    grown(config | {key: 0}, DOUBLED)


def test_a_config_that_transformers_refuses_is_an_error_of_the_checkpoint():
    with pytest.raises(InvalidValueError, match=r"has a config\.json that transformers .* refuses"):
        grown(SIZES | {"model_type": "llama", "num_attention_heads": 5}, DOUBLED)
