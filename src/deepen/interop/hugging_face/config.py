"""Hugging Face's config.json as a `ModelConfig`, and back. Needs no torch.

A config names the class of its model as `model_type`. GPT-2 is our family `gpt2`; the other classes in
`MODEL_TYPES` are our family `llama` with options. What is not trained is refused by name: another class, a sliding
window, an activation, a kind of rotary positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepen.errors import InvalidValueError, join_or
from deepen.interop.hugging_face.entries import Entries, shorten
from deepen.interop.hugging_face.rope import make_rope_scaling, parse_rope
from deepen.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class _LlamaClass:
    """A class of transformers that is our `llama` with options.

    Attributes:
        architecture: its class with a head.
        biases, qk_norm, norm_position: values of these options that it can have.
        defaults: entries that a config may leave out, where they matter to us.
    """

    architecture: str
    biases: tuple[str, ...]
    qk_norm: str = "none"
    norm_position: str = "pre"
    defaults: Mapping[str, Any] = field(default_factory=dict)


_LLAMA_CLASSES = {
    "llama": _LlamaClass(architecture="LlamaForCausalLM", biases=("none", "attention", "all")),
    "mistral": _LlamaClass(
        architecture="MistralForCausalLM",
        biases=("none",),
        defaults={"num_key_value_heads": 8, "use_sliding_window": True, "sliding_window": 4096},
    ),
    "qwen2": _LlamaClass(architecture="Qwen2ForCausalLM", biases=("qkv",), defaults={"max_window_layers": 28}),
    "qwen3": _LlamaClass(
        architecture="Qwen3ForCausalLM",
        biases=("none", "attention"),
        qk_norm="per-head",
        defaults={"head_dim": 128, "max_window_layers": 28},
    ),
    "olmo2": _LlamaClass(
        architecture="Olmo2ForCausalLM",
        biases=("none", "attention"),
        qk_norm="all-heads",
        norm_position="post",
        defaults={"rms_norm_eps": 1e-5},
    ),
}

MODEL_TYPES = ("gpt2", *_LLAMA_CLASSES)
"""Values of `model_type` that are trained."""


def parse_config(config: Mapping[str, Any], name: str) -> ModelConfig:
    """The model that a config.json describes, at its current depth.

    Args:
        config: the content of config.json.
        name: the checkpoint's name, for the model and for errors.

    Raises:
        InvalidValueError: the model, or something in it, is not trained; or an entry is missing or damaged. The
            error's `field` is the entry.
    """
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise InvalidValueError(
            f"of {name} is {shorten(model_type)}: this kind of model is not trained",
            field="model_type",
            value=model_type,
            remedy=f"use {join_or(MODEL_TYPES)}",
            allowed=MODEL_TYPES,
        )
    defaults = {} if model_type == "gpt2" else _LLAMA_CLASSES[model_type].defaults
    entries = Entries({**defaults, **config}, name)
    entries.refuse_if("quantization_config", "quantized weights are not trained")
    for architecture in config.get("architectures") or ():
        if "For" in str(architecture) and not str(architecture).endswith("ForCausalLM"):
            raise entries.error("architectures", "only language models are trained")
    if model_type == "gpt2":
        return _parse_gpt2(entries)
    return _parse_llama(_LLAMA_CLASSES[model_type], entries)


def make_config(model: ModelConfig) -> dict[str, Any]:
    """The config.json of a model, with its depth as the number of blocks.

    Versions 4 and 5 of transformers read it. It names no special tokens; those follow from the tokenizer.

    Raises:
        InvalidValueError: no class of transformers has this model's options.
    """
    if model.family == "gpt2":
        return _make_gpt2(model)
    biases = model.biases or "none"
    for model_type, kind in _LLAMA_CLASSES.items():
        if biases in kind.biases and (model.qk_norm, model.norm_position) == (kind.qk_norm, kind.norm_position):
            return _make_llama(model, model_type, kind)
    raise InvalidValueError(
        f"{model.qk_norm} with norm_position {model.norm_position} and biases {biases} is not in transformers",
        field="qk_norm",
        value=model.qk_norm,
    )


def _parse_gpt2(entries: Entries) -> ModelConfig:
    entries.require("activation_function", ("gelu_new", "gelu_pytorch_tanh"), "only GELU in tanh form is trained")
    entries.require("scale_attn_weights", (True,), "attention without scaling is not trained")
    entries.require("scale_attn_by_inverse_layer_idx", (False,), "attention scaled by depth is not trained")
    entries.require("add_cross_attention", (False,), "cross-attention is not trained")
    return ModelConfig(
        name=entries.name,
        depth=entries.whole("n_layer"),
        width=entries.whole("n_embd"),
        heads=entries.whole("n_head"),
        context=entries.whole("n_positions"),
        vocab=entries.whole("vocab_size"),
        mlp=entries.whole("n_inner", 0),
        tied=entries.switch("tie_word_embeddings", default=True),
        init_std=entries.number("initializer_range", 0.02),
        norm_epsilon=entries.number("layer_norm_epsilon", 1e-5),
    )


def _make_gpt2(model: ModelConfig) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": model.depth,
        "n_embd": model.width,
        "n_head": model.heads,
        "n_inner": model.mlp,
        "n_positions": model.context,
        "vocab_size": model.vocab,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": model.norm_epsilon,
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _parse_llama(kind: _LlamaClass, entries: Entries) -> ModelConfig:
    entries.require("hidden_act", ("silu", "swish"), "only SiLU is trained")
    entries.require("partial_rotary_factor", (1, 1.0), "heads that are rotated in part are not trained")
    depth, context = entries.whole("num_hidden_layers"), entries.whole("max_position_embeddings")
    _refuse_sliding_window(entries, depth, context)
    rope_base, rope_scaling = parse_rope(entries, context)
    heads = entries.whole("num_attention_heads")
    return ModelConfig(
        name=entries.name,
        family="llama",
        depth=depth,
        width=entries.whole("hidden_size"),
        heads=heads,
        kv_heads=entries.whole("num_key_value_heads", heads),
        head_dim=entries.whole("head_dim", 0),
        mlp=entries.whole("intermediate_size"),
        context=context,
        vocab=entries.whole("vocab_size"),
        tied=entries.switch("tie_word_embeddings", default=False),
        rope_base=rope_base,
        rope_scaling=rope_scaling,
        biases=_parse_biases(kind, entries),
        qk_norm=kind.qk_norm,
        norm_position=kind.norm_position,
        norm_epsilon=entries.number("rms_norm_eps", 1e-6),
        init_std=entries.number("initializer_range", 0.02),
    )


def _make_llama(model: ModelConfig, model_type: str, kind: _LlamaClass) -> dict[str, Any]:
    switches = {"attention_bias": ("attention", "all"), "mlp_bias": ("all",)}
    biases = {
        entry: (model.biases or "none") in choices
        for entry, choices in switches.items()
        if set(choices) & set(kind.biases)
    }
    return {
        "model_type": model_type,
        "architectures": [kind.architecture],
        "num_hidden_layers": model.depth,
        "hidden_size": model.width,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_width,
        "intermediate_size": model.mlp,
        "max_position_embeddings": model.context,
        "vocab_size": model.vocab,
        "hidden_act": "silu",
        "rms_norm_eps": model.norm_epsilon,
        "rope_theta": model.rope_base,
        "rope_scaling": make_rope_scaling(model.rope_scaling),
        **biases,
        "attention_dropout": 0.0,
        "initializer_range": model.init_std,
        "tie_word_embeddings": model.tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _parse_biases(kind: _LlamaClass, entries: Entries) -> str:
    """Which linears have biases, in our terms. A class ignores entries that it does not know."""
    attention = "attention" in kind.biases and entries.switch("attention_bias", default=False)
    mlp = "all" in kind.biases and entries.switch("mlp_bias", default=False)
    if mlp and not attention:
        raise entries.error("mlp_bias", "biases in the MLP alone are not trained")
    if mlp:
        return "all"
    return "attention" if attention else kind.biases[0]


def _refuse_sliding_window(entries: Entries, depth: int, context: int) -> None:
    """Refuse attention that does not reach all earlier tokens of the context."""
    reason = "only attention to all earlier tokens is trained"
    types = entries.given("layer_types")
    if isinstance(types, list) and not _ATTENTION_TYPES.issuperset(map(str, types)):
        raise entries.error("layer_types", reason)
    slides = entries.switch("use_sliding_window", default=False) and depth > entries.whole("max_window_layers", 0)
    window = entries.whole("sliding_window", context)
    if slides and window < context:
        remedy = f"set max_position_embeddings to {window} in its config.json: the window then reaches all tokens"
        raise entries.error("sliding_window", reason, remedy)


_ATTENTION_TYPES = {"full_attention", "sliding_attention"}
