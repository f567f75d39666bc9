"""The config.json of a grown model: its depth, and everything in it that is about single blocks.

A config describes single blocks in three ways. Each block of the grown model must be described as the block that
it is like:

- lists with one entry per block (`layer_types`, `mlp_layer_types`, `no_rope_layers`);
- rules by position (`first_k_dense_replace`; see `position_rules.py`);
- nothing at all, where transformers' config class makes the list: in Gemma 2 each second block attends to a
  window. The list is made for the old model, and written out if the class would make another for the new model.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import sqrt
from typing import Any

from deepen.errors import InvalidValueError
from deepen.extras import import_extra
from deepen.interop.hugging_face.block_list import DEPTH_KEYS, BlockList, find_section
from deepen.interop.hugging_face.position_rules import POSITION_RULES, adjust_rules, check_rules

_NOT_PER_BLOCK = ("architectures", "attention_types", "keys_to_ignore_at_inference", "time_step_limit")
"""Lists that can be as long as a model is deep without being about blocks, or are handled by name."""
_REFUSED = {
    "scale_attn_by_inverse_layer_idx": "attention depends on the block's number",
    "num_kv_shared_layers": "blocks share keys and values",
    "hidden_size_per_layer_input": "embeddings have a part for each block",
}
"""Keys of models whose blocks are not independent of their number, and why they cannot grow."""


def make_grown_config(config: Mapping[str, Any], blocks: BlockList, sources: Sequence[int]) -> dict[str, Any]:
    """The config of a grown model.

    Args:
        config: the content of config.json before growth.
        blocks: the list of the model's blocks.
        sources: for each block after growth, the block before growth that it is like.

    Raises:
        InvalidValueError: the model's blocks depend on their number, or the layout changes the kind of a block.
    """
    section = find_section(config)
    for key, reason in _REFUSED.items():
        if section.get(key):
            raise InvalidValueError(
                f"cannot be grown: with {key} {section[key]} in config.json, {reason}", field="checkpoint"
            )
    grown = deepcopy(dict(config))
    new = grown if section is config else grown["text_config"]
    new |= {key: len(sources) for key in DEPTH_KEYS if section.get(key) == blocks.depth}
    new |= {key: _select(section[key], blocks, sources) for key in _find_lists(section, blocks)}
    new |= adjust_rules(section, sources)
    if kinds := section.get("attention_types"):  # GPT-Neo: [[["global", "local"], 12]]
        expanded = [kind for group, times in kinds for kind in group * times]
        new["attention_types"] = [[_select(expanded, blocks, sources), 1]]
    if scale := section.get("scale_depth"):  # MiniCPM multiplies residuals by scale_depth / sqrt(depth)
        new["scale_depth"] = scale * sqrt(len(sources) / blocks.depth)
    _write_made_lists(config, grown, new, blocks, sources)
    check_rules(section, new, sources)
    if "quantization_config" in grown:
        grown["quantization_config"] = _rename_blocks(grown["quantization_config"], blocks, sources)
    return grown


def _find_lists(section: Mapping[str, Any], blocks: BlockList) -> list[str]:
    """The keys of lists with an entry per block, and of strings with a letter per block (`..._pattern`)."""
    return [
        key
        for key, value in section.items()
        if (isinstance(value, list) or (isinstance(value, str) and key.endswith("_pattern")))
        and len(value) in (blocks.depth, blocks.depth + blocks.extra)
        and not (key in POSITION_RULES and POSITION_RULES[key].fits(value))
        and key not in _NOT_PER_BLOCK
        and "token" not in key
    ]


def _select(values: Any, blocks: BlockList, sources: Sequence[int]) -> Any:
    """The entry of its source for each block, then the entries of blocks that follow the list."""
    chosen, rest = [values[source] for source in sources], values[blocks.depth :]
    return "".join(chosen) + rest if isinstance(values, str) else chosen + rest


def _write_made_lists(
    config: Mapping[str, Any],
    grown: Mapping[str, Any],
    new: dict[str, Any],
    blocks: BlockList,
    sources: Sequence[int],
) -> None:
    """Write out the lists that transformers' config class makes, where it would make another one after growth.

    Args:
        config, grown: the configs before and after growth.
        new: the part of `grown` about the language model.
        blocks, sources: as in `make_grown_config`.
    """
    wanted = {
        key: _select(values, blocks, sources)
        for key, values in _make_lists(config).items()
        if len(values) == blocks.depth
    }
    made = _make_lists(grown)
    new |= {key: values for key, values in wanted.items() if made.get(key) != values}
    made = _make_lists(grown)
    if ignored := [key for key, values in wanted.items() if made.get(key) != values]:
        raise InvalidValueError(
            f"cannot be grown by this layout: transformers makes {ignored[0]} itself for {config['model_type']}, "
            "and would give a block another kind than the block it is like",
            field="checkpoint",
            remedy="use a layout that repeats whole groups of blocks",
        )


def is_tied(config: Mapping[str, Any]) -> bool:
    """Whether the output is tied to the embeddings, or the model has none; True where that is not known."""
    if not any(str(name).endswith("ForCausalLM") for name in config.get("architectures") or ()):
        return True
    completed = _complete(config) or config
    sections = (completed, find_section(completed))
    return any(section.get("tie_word_embeddings", completed is config) is not False for section in sections)


def _make_lists(config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The lists of a config as transformers completes it; none for a model that it does not know."""
    section = find_section(_complete(config))
    return {key: value for key, value in section.items() if isinstance(value, list) and key not in _NOT_PER_BLOCK}


def _complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as transformers completes it; empty for a model that it does not know."""
    transformers = import_extra("transformers", extra="hf", purpose="growing a Hugging Face checkpoint")
    if config.get("model_type") not in transformers.CONFIG_MAPPING:
        return {}
    try:
        return dict(transformers.CONFIG_MAPPING[config["model_type"]].from_dict(dict(config)).to_dict())
    except Exception as error:  # strict config classes raise errors of many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise InvalidValueError(
            f"has a config.json that transformers {transformers.__version__} refuses ({reason})",
            field="checkpoint",
        ) from None


def _rename_blocks(value: Any, blocks: BlockList, sources: Sequence[int]) -> Any:
    """A part of a config in which names of modules are changed, such as those that are not quantized."""
    if isinstance(value, Mapping):
        return {key: _rename_blocks(each, blocks, sources) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    renamed: list[Any] = []
    for each in value:
        found = blocks.split(f"{each}.") if isinstance(each, str) else None
        if found is None or found[0] >= blocks.depth:
            renamed.append(_rename_blocks(each, blocks, sources))
        else:
            old, rest = found
            renamed += [
                blocks.name(block, rest).removesuffix(".") for block, source in enumerate(sources) if source == old
            ]
    return renamed
