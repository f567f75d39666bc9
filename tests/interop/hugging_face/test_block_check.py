"""Checkpoints that their own blocks show to be damaged, and right ones whose blocks differ."""

import logging
from pathlib import Path
from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.block_check import check_blocks, warn_without_head
from deepen.interop.hugging_face.block_list import BlockList
from deepen.interop.hugging_face.grown_config import is_tied
from deepen.train.checkpoint.tensor_file import StoredTensor

LISTED = BlockList(prefix="model.layers.", depth=4)
DENSE = {"q.weight": (64, 32), "up.weight": (64, 32), "down.weight": (32, 64), "norm.weight": (32,)}
EXPERTS = {"q.weight": (64, 32), "router.weight": (2, 32), "0.weight": (8, 32), "1.weight": (8, 32)}
Shapes = dict[str, tuple[int, ...]]


def check(*blocks: Shapes, dtype: str = "BF16", section: dict[str, Any] | None = None) -> None:
    tensors = {
        LISTED.name(number, name): StoredTensor(path=Path("x"), dtype=dtype, shape=shape, begin=0, bytes=0)
        for number, block in enumerate(blocks)
        for name, shape in block.items()
    }
    check_blocks(section or {}, LISTED, tensors)


def without(block: Shapes, *names: str) -> Shapes:
    return {name: shape for name, shape in block.items() if name not in names}


def test_a_tensor_that_a_block_alone_lacks_is_named():
    with pytest.raises(InvalidValueError, match=r"no tensor model\.layers\.1\.up\.weight, which only this block"):
        check(DENSE, without(DENSE, "up.weight"), DENSE, DENSE)
    with pytest.raises(InvalidValueError, match=r"no tensor model\.layers\.2\.1\.weight"):
        check(DENSE, EXPERTS, without(EXPERTS, "1.weight"), EXPERTS)


def test_a_tensor_whose_shape_a_block_alone_has_is_named():
    with pytest.raises(
        InvalidValueError,
        match=r"layers\.3\.up\.weight of shape \(5, 32\), and the other blocks have it of shape \(64",
    ):
        check(DENSE, DENSE, DENSE, DENSE | {"up.weight": (5, 32)})


@pytest.mark.parametrize("number", [0, 3])
def test_the_first_and_the_last_block_may_lack_a_tensor(number: int, caplog: pytest.LogCaptureFixture):
    """The first block of ModernBERT's decoder has no norm before attention."""
    blocks = [DENSE] * 4
    blocks[number] = without(DENSE, "norm.weight")
    check(*blocks)
    [warning] = caplog.messages
    assert f"no tensor model.layers.{number}.norm.weight" in warning


@pytest.mark.parametrize(
    "blocks",
    [
        (DENSE, EXPERTS, DENSE, EXPERTS),
        (DENSE, EXPERTS, EXPERTS, EXPERTS),
        (DENSE, without(DENSE, "up.weight", "down.weight"), DENSE, DENSE),
        (DENSE, without(DENSE, "up.weight"), without(DENSE, "up.weight"), DENSE),
        (DENSE, DENSE, DENSE | {"up.weight": (96, 32), "down.weight": (32, 96)}, DENSE),
        tuple(DENSE | {"up.weight": (width, 32), "down.weight": (32, width)} for width in (16, 32, 48, 64)),
    ],
    ids=["alternating", "first dense", "no mlp", "two without", "one wider", "all differ"],
)
def test_blocks_of_several_kinds_and_widths_are_right(
    blocks: tuple[Shapes, ...], caplog: pytest.LogCaptureFixture
):
    check(*blocks)
    assert not caplog.messages


def test_a_block_that_the_config_calls_another_kind_may_lack_a_tensor():
    """Full attention of Gemma 4 uses its keys as values."""
    kinds = ["window", "full", "window", "window"]
    check(DENSE, without(DENSE, "up.weight"), DENSE, DENSE, section={"layer_types": kinds})


def test_shapes_of_quantized_tensors_are_not_compared():
    check(DENSE, DENSE, DENSE, DENSE | {"up.weight": (5, 32)}, dtype="I32")


def test_a_model_without_an_output_head_is_warned_of_unless_it_is_tied(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    embeddings = StoredTensor(path=Path("x"), dtype="F32", shape=(9, 4), begin=0, bytes=0)
    tensors = {"model.embed_tokens.weight": embeddings}
    warn_without_head(tensors, LISTED, tied=True)
    warn_without_head(tensors | {"lm_head.weight": embeddings}, LISTED, tied=False)
    assert not caplog.messages
    warn_without_head(tensors, LISTED, tied=False)
    assert "no tensor lm_head.weight" in caplog.messages[0]


def test_whether_a_model_is_tied_follows_from_its_class():
    pytest.importorskip("transformers")
    llama = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    assert not is_tied(llama) and is_tied(llama | {"tie_word_embeddings": True})
    assert is_tied(llama | {"architectures": ["LlamaModel"]})
    assert is_tied({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]})
    mine = {"model_type": "mine", "architectures": ["MineForCausalLM"]}
    assert is_tied(mine) and not is_tied(mine | {"tie_word_embeddings": False})
