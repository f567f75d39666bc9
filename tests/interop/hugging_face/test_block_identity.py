"""Which tensors of a block must be zero for it to be the identity."""

from pathlib import Path

import pytest

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.block_identity import find_identity_values
from deepen.train.checkpoint.tensor_file import StoredTensor


def block(*names: str, dtype: str = "BF16") -> dict[str, StoredTensor]:
    """A block of matrices, and of vectors where a name has "norm" or "bias" in it."""
    return {
        name: StoredTensor(
            path=Path("x"),
            dtype=dtype,
            begin=0,
            bytes=0,
            shape=(4,) if "norm" in name or "bias" in name else (4, 4),
        )
        for name in names
    }


LLAMA = (
    "input_layernorm.weight",
    "self_attn.q_proj.weight",
    "self_attn.o_proj.weight",
    "post_attention_layernorm.weight",
)
MLP = ("mlp.up_proj.weight", "mlp.down_proj.weight")


@pytest.mark.parametrize(
    ("names", "zero"),
    [
        ((*LLAMA, *MLP), {"self_attn.o_proj.weight", "mlp.down_proj.weight"}),
        (
            ("attn.c_attn.weight", "attn.bias", "attn.c_proj.weight", "attn.c_proj.bias", "mlp.c_fc.weight",
             "mlp.c_proj.weight", "mlp.c_proj.bias"),
            {"attn.c_proj.weight", "attn.c_proj.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"},
        ),
        (
            (*LLAMA, "mlp.gate.weight", "mlp.experts.0.up_proj.weight", "mlp.experts.0.down_proj.weight",
             "mlp.experts.1.down_proj.weight", "mlp.shared_experts.down_proj.weight"),
            {"self_attn.o_proj.weight", "mlp.experts.0.down_proj.weight", "mlp.experts.1.down_proj.weight",
             "mlp.shared_experts.down_proj.weight"},
        ),
        (
            (*LLAMA, "mlp.experts.gate_up_proj", "mlp.experts.down_proj", "mlp.experts.down_proj_bias"),
            {"self_attn.o_proj.weight", "mlp.experts.down_proj", "mlp.experts.down_proj_bias"},
        ),
        (("self_attn.out_proj.weight", "fc1.weight", "fc2.weight", "fc2.bias"),
         {"self_attn.out_proj.weight", "fc2.weight", "fc2.bias"}),
        (("mixer.in_proj.weight", "mixer.out_proj.weight"), {"mixer.out_proj.weight"}),
        # A norm follows: its gain is zero instead.
        ((*LLAMA[1:], *MLP, "post_feedforward_layernorm.weight"),
         {"post_attention_layernorm.weight", "post_feedforward_layernorm.weight"}),
        ((*LLAMA, *MLP, "post_self_attn_layernorm.weight", "post_mlp_layernorm.weight"),
         {"post_self_attn_layernorm.weight", "post_mlp_layernorm.weight"}),
    ],
)  # fmt: skip
def test_output_projections_are_found_in_any_family(names: tuple[str, ...], zero: set[str]):
    assert find_identity_values(block(*names), "any") == dict.fromkeys(zero, 0.0)


def test_gains_that_one_is_added_to_become_minus_one():
    names = (*LLAMA, *MLP, "pre_feedforward_layernorm.weight", "post_feedforward_layernorm.weight")
    gains = ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")
    assert find_identity_values(block(*names), "gemma2") == dict.fromkeys(gains, -1.0)
    scaled = find_identity_values(block(*names, "layer_scalar"), "gemma4_text")
    assert scaled == dict.fromkeys(gains, 0.0) | {"layer_scalar": 1.0}


def test_scales_of_eight_bit_floats_stay():
    names = (*LLAMA, *MLP, "mlp.down_proj.weight_scale_inv")
    assert find_identity_values(block(*names, dtype="F8_E4M3"), "deepseek_v3") == {
        "self_attn.o_proj.weight": 0.0,
        "mlp.down_proj.weight": 0.0,
    }


@pytest.mark.parametrize(
    ("tensors", "model_type", "message"),
    [
        (block(*LLAMA, "mlp.up.weight", "mlp.back.weight"), "any", "no tensor of mlp in its blocks has the name"),
        (block(*LLAMA, "mlp.down_proj.qweight", dtype="I32"), "any", "is quantized"),
        (block(*LLAMA, *MLP), "openai-gpt", "a norm follows the residual stream in openai-gpt models"),
    ],
)
def test_what_cannot_become_the_identity_is_refused(
    tensors: dict[str, StoredTensor], model_type: str, message: str
):
    with pytest.raises(InvalidValueError, match="cannot make blocks of this checkpoint the identity") as refused:
        find_identity_values(tensors, model_type)
    assert message in str(refused.value) and refused.value.field == "operator"
