"""What makes a block of any decoder the identity: which of its tensors must be zero.

A block adds what its output projections make to the residual stream, so zero projections make it the identity:

    self_attn.o_proj.weight, mlp.experts.7.down_proj.weight      Llama, DeepSeek-V3
    attn.c_proj.weight, attn.c_proj.bias, mlp.c_proj.weight ...   GPT-2

Where a norm follows the projection (Gemma 2, OLMo 2, GLM-4), its gain is zero instead: the norm would divide by
almost zero, and multiply gradients by 1/√epsilon. Needs no torch.
"""

from collections.abc import Mapping

from deepen.errors import InvalidValueError
from deepen.train.checkpoint.tensor_file import StoredTensor

_PROJECTIONS = frozenset({
    "o_proj", "out_proj", "c_proj", "dense", "wo", "Wo",
    "down_proj", "dense_4h_to_h", "fc2", "fc_out", "w2", "output_linear", "proj_down",
})  # fmt: skip
"""What output projections are called, of attention and of MLPs."""
_NORMS = frozenset({
    "post_feedforward_layernorm", "post_mlp_layernorm", "post_self_attn_layernorm", "post_norm1", "post_norm2",
    "post_ffn_norm", "post_operator_norm",
})  # fmt: skip
"""What norms are called that follow an output projection. `post_attention_layernorm` usually precedes the MLP."""
_FIRST_OF_TWO = "fc1"
"""The first linear of an MLP that has no module of its own (OPT)."""
_ADDS_ONE = ("gemma2", "gemma3", "gemma3_text")
"""Model types whose norms multiply by 1 + weight."""
_SCALE = "layer_scalar"
"""A factor that Gemma 4 has for the output of a block."""
_NO_IDENTITY = {
    "openai-gpt": "a norm follows the residual stream",
    "xlm": "a norm follows the residual stream",
    "xlnet": "a norm follows the residual stream",
    "minimax": "the residual stream is scaled",
}
"""Model types in which zeros cannot make a block the identity."""
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""Types whose zero bytes are the number 0."""


def find_identity_values(block: Mapping[str, StoredTensor], model_type: str) -> dict[str, float]:
    """The value that each tensor must have in all its entries for the block to be the identity.

    Args:
        block: the tensors of a block by name within it.
        model_type: of the config.

    Raises:
        InvalidValueError: it is not known how a block of this model becomes the identity.
    """
    if model_type in _NO_IDENTITY:
        raise _impossible(f"{_NO_IDENTITY[model_type]} in {model_type} models")
    children = {name.partition(".")[0] for name in block}
    if norms := _output_norms(children):
        gain = -1.0 if model_type in _ADDS_ONE else 0.0
        values = {name: gain for name in block if name.removesuffix(".weight") in norms}
        values |= {name: 0.0 for name in block if name.removesuffix(".bias") in norms}
    else:
        _check_all_known(block)
        values = {name: 0.0 for name in block if is_output_projection(name)}
        for name in values:
            if block[name].dtype not in _FLOATS:
                raise _impossible(f"{name} is quantized ({block[name].dtype})")
    return values | {name: 1.0 for name in block if name == _SCALE}


def _output_norms(children: set[str]) -> set[str]:
    """The norms of a block that follow an output projection."""
    norms = children & _NORMS
    if "post_feedforward_layernorm" in norms or {"post_mlp_layernorm", "pre_mlp_layernorm"} <= children:
        norms |= {"post_attention_layernorm"}
    return norms


def is_output_projection(name: str) -> bool:
    """Whether a tensor belongs to an output projection, as a module's weight or bias or as a tensor of experts."""
    *modules, last = name.split(".")
    if modules and modules[-1] in _PROJECTIONS:
        return not last.endswith(("scale", "scale_inv"))  # scales of 8-bit floats: 0 times a scale is 0
    return last.removesuffix("_bias") in _PROJECTIONS


def _check_all_known(block: Mapping[str, StoredTensor]) -> None:
    """Raise an error unless each part of a block with matrices has an output projection that is known."""
    parts = {
        name.partition(".")[0]
        for name, tensor in block.items()
        if len(tensor.shape) > 1 and name.endswith("weight") and "norm" not in name.partition(".")[0]
    }
    known = {name.partition(".")[0] for name in block if is_output_projection(name)}
    if unknown := sorted(parts - known - {_FIRST_OF_TWO}):
        raise _impossible(f"no tensor of {unknown[0]} in its blocks has the name of an output projection")


def _impossible(reason: str) -> InvalidValueError:
    return InvalidValueError(
        f"cannot make blocks of this checkpoint the identity: {reason}",
        field="operator",
        remedy="use stack or interleave",
    )
