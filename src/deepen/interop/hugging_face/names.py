"""Names and shapes of tensors, ours and Hugging Face's.

Every tensor has one counterpart, so that a checkpoint can be converted tensor by tensor, whole or in parts:

    ours                            GPT-2                               Llama and its relatives
    token_embedding.weight          transformer.wte.weight              model.embed_tokens.weight
    blocks.3.attention.out.weight   transformer.h.3.attn.c_proj.weight  model.layers.3.self_attn.o_proj.weight
                                    (transposed)

A head that is tied to the token embedding has no tensor of its own. Hugging Face's models have no
`ModelConfig.branch_scale`: the tensors to which a block's output is proportional are multiplied by it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """The modules of one kind of checkpoint, by our names.

    Attributes:
        prefix: what precedes the names of all modules but the head; some checkpoints leave it out.
        blocks: the name of the list of blocks.
        outside: modules outside the blocks, the head excepted.
        inside: modules of a block.
        transposes: whether matrices of blocks are stored as (inputs, outputs).
    """

    prefix: str
    blocks: str
    outside: Mapping[str, str]
    inside: Mapping[str, str]
    transposes: bool = False


_GPT2 = _Layout(
    prefix="transformer.",
    blocks="h",
    outside={"token_embedding": "wte", "position_embedding": "wpe", "norm": "ln_f"},
    inside={
        "norm_1": "ln_1",
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "norm_2": "ln_2",
        "mlp.up": "mlp.c_fc",
        "mlp.down": "mlp.c_proj",
    },
    transposes=True,
)

_LLAMA_INSIDE = {
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "attention.out": "self_attn.o_proj",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
_NORMS = {
    "pre": {"norm_1": "input_layernorm", "norm_2": "post_attention_layernorm"},
    "post": {"norm_1": "post_attention_layernorm", "norm_2": "post_feedforward_layernorm"},
}
_LLAMA = {
    position: _Layout(
        prefix="model.",
        blocks="layers",
        outside={"token_embedding": "embed_tokens", "norm": "norm"},
        inside=_LLAMA_INSIDE | norms,
    )
    for position, norms in _NORMS.items()
}

_HEAD = "lm_head.weight"
_BUFFER = re.compile(r"\.attn\.(masked_)?bias$|rotary_emb\.inv_freq$")
"""Tensors of older checkpoints that are no parameters: causal masks and rotary frequencies."""


def to_hugging_face(model: ModelConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give our tensors Hugging Face's names, shapes and scale; transposed ones are views.

    Args:
        model: the model they belong to, at its current depth.
        weights: any of its parameters by name.

    Raises:
        InvalidValueError: a name is not one of the model's.
    """
    layout = _find_layout(model)
    converted = {}
    for name, tensor in weights.items():
        theirs, transposed = _rename(layout, name)
        scaled = _rescale(model, name, tensor, model.branch_scale(model.depth))
        converted[theirs] = scaled.T if transposed else scaled
    return converted


def from_hugging_face(model: ModelConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give Hugging Face's tensors our names, shapes and scale; transposed ones are views.

    Left out are buffers, and a tied head's copy of the token embedding.

    Args:
        model: the model they belong to, at its current depth.
        tensors: any tensors of its checkpoint by name, with or without the prefix of the base model.

    Raises:
        InvalidValueError: a name is not one of the model's.
    """
    layout = _find_layout(model)
    return {
        ours: _rescale(model, ours, tensor.T if transposed else tensor, 1 / model.branch_scale(model.depth))
        for name, tensor in tensors.items()
        if (renamed := _rename_back(model, layout, name)) is not None
        for ours, transposed in (renamed,)
    }


def _rescale(model: ModelConfig, name: str, tensor: Tensor, factor: float) -> Tensor:
    """Multiply a parameter, by our name, by a factor if a block's output is proportional to it."""
    _, _, inside = name.removeprefix("blocks.").partition(".")
    is_proportional = name.startswith("blocks.") and inside.startswith(model.zero_parameters)
    return tensor * factor if is_proportional and factor != 1 else tensor


def _find_layout(model: ModelConfig) -> _Layout:
    return _GPT2 if model.family == "gpt2" else _LLAMA[model.norm_position]


def _rename(layout: _Layout, name: str) -> tuple[str, bool]:
    """Hugging Face's name of a parameter of ours, and whether it is transposed."""
    if name == "head.weight":
        return _HEAD, False
    module, _, kind = name.rpartition(".")
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", module):
        index, inside = match.groups()
        if inside in layout.inside:
            renamed = f"{layout.prefix}{layout.blocks}.{index}.{layout.inside[inside]}.{kind}"
            return renamed, layout.transposes and kind == "weight" and not inside.startswith("norm")
    elif module in layout.outside:
        return f"{layout.prefix}{layout.outside[module]}.{kind}", False
    raise InvalidValueError(f"{name!r} is not a parameter of this family", field="weights", value=name)


def _rename_back(model: ModelConfig, layout: _Layout, name: str) -> tuple[str, bool] | None:
    """Our name of a tensor of theirs, and whether it is transposed; None if it is left out."""
    if name == _HEAD:
        return None if model.tied else ("head.weight", False)
    if _BUFFER.search(name):
        return None
    module, _, kind = name.removeprefix(layout.prefix).rpartition(".")
    if match := re.fullmatch(rf"{layout.blocks}\.(\d+)\.(.+)", module):
        index, theirs = match.groups()
        for ours, inside in layout.inside.items():
            if inside == theirs:
                transposed = layout.transposes and kind == "weight" and not ours.startswith("norm")
                return f"blocks.{index}.{ours}.{kind}", transposed
    for ours, outside in layout.outside.items():
        if outside == module:
            return f"{ours}.{kind}", False
    raise InvalidValueError(
        f"{name!r} is not a tensor of this model: it has something that its config does not describe",
        field="checkpoint",
        value=name,
    )
