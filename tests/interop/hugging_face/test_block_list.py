"""The numbered list of blocks of any decoder."""

from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.block_list import BlockList, find_blocks


def names(prefix: str, count: int) -> list[str]:
    inside = ("self_attn.q_proj.weight", "mlp.experts.0.w1.weight", "mlp.experts.1.w1.weight")
    return [f"{prefix}{block}.{name}" for block in range(count) for name in inside]


@pytest.mark.parametrize(
    ("config", "tensors", "expected"),
    [
        ({"n_layer": 2}, names("transformer.h.", 2), BlockList(prefix="transformer.h.", depth=2)),
        ({"n_layer": 2}, names("h.", 2), BlockList(prefix="h.", depth=2)),
        ({"num_hidden_layers": 12}, names("model.layers.", 12), BlockList(prefix="model.layers.", depth=12)),
        (
            {"num_hidden_layers": 3, "num_nextn_predict_layers": 1},
            names("model.layers.", 4),
            BlockList(prefix="model.layers.", depth=3, extra=1),
        ),
        (
            {"num_hidden_layers": 3, "num_nextn_predict_layers": 1},  # as transformers writes it
            names("model.layers.", 3),
            BlockList(prefix="model.layers.", depth=3),
        ),
        (
            {"text_config": {"num_hidden_layers": 2}, "vision_config": {"num_hidden_layers": 2}},
            names("model.vision_tower.layers.", 2) + names("model.language_model.layers.", 2),
            BlockList(prefix="model.language_model.layers.", depth=2),
        ),
    ],
)
def test_blocks_are_found_by_the_numbers_in_names(config: dict[str, Any], tensors: list[str], expected: BlockList):
    others = ["model.embed_tokens.weight", "lm_head.weight", "score.0.weight"]
    assert find_blocks(config, others + tensors) == expected


def test_names_are_split_and_made():
    blocks = BlockList(prefix="model.layers.", depth=2)
    assert blocks.split("model.layers.11.mlp.experts.3.w1.weight") == (11, "mlp.experts.3.w1.weight")
    assert blocks.name(12, "mlp.experts.3.w1.weight") == "model.layers.12.mlp.experts.3.w1.weight"
    assert blocks.split("model.norm.weight") is None and blocks.split("model.layers.x.y") is None


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({}, names("h.", 2), "its config.json has no number of blocks"),
        (
            {"n_layer": "4"},
            names("h.", 4),
            "its config.json has n_layer '4', and it must be a whole",
        ),
        ({"n_layer": 0}, names("h.", 4), "its config.json has n_layer 0, and it must be"),
        ({"n_layer": -4}, names("h.", 4), "its config.json has n_layer -4, and it must be"),
        ({"n_layer": 4.0}, names("h.", 4), "its config.json has n_layer 4.0, and it must be"),
        ({"n_layer": 3}, names("h.", 2), "its config.json has n_layer 3, but its tensors have h.0 to 1"),
        ({"n_layer": 3}, ["wte.weight"], "its tensors have no numbered blocks"),
        ({"n_layer": 2}, names("a.", 2) + names("b.", 2), "it has several lists of 2 blocks: a., b."),
        ({"n_layer": 3}, [*names("h.", 1), "h.2.x"], "it has no tensors of h.1"),
        ({"num_layers": 2, "is_encoder_decoder": True}, names("decoder.block.", 2), "it is an encoder with a"),
    ],
)
def test_what_is_not_one_list_of_blocks_is_refused(config: dict[str, Any], tensors: list[str], message: str):
    with pytest.raises(InvalidValueError, match="cannot be grown") as refused:
        find_blocks(config, tensors)
    assert message in str(refused.value)
