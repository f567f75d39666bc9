"""Config values that give blocks their kind by position, such as "the first 3 blocks are dense".

A copied block must be of the same kind at its new position. A threshold or a list of positions can be adjusted. A
period cannot; then the layout must suit it, or the config must list the kind of each block, which replaces it:

    first_k_dense_replace 3, blocks 0-5 become 0,0,1,2,3,4,5      ->  4
    mlp_only_layers [0, 3], blocks 0-5 become 0,0,1,2,3,4,5       ->  [0, 1, 4]
    decoder_sparse_step 2 (each second block is sparse)           ->  blocks can be repeated in pairs only
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepen.errors import InvalidValueError


@dataclass(frozen=True, kw_only=True, slots=True)
class PositionRule:
    """A config value that gives blocks their kind by position.

    Attributes:
        fits: whether a value is of the type that the rule is about.
        kind: the kind of a block, by value and position.
        adjust: the value after growth, by value before it and the old block that each new block is like.
        replaced_by: the list with the kind of each block that replaces the rule where a config has it.
    """

    fits: Callable[[Any], bool]
    kind: Callable[[Any, int], object]
    adjust: Callable[[Any, Sequence[int]], Any]
    replaced_by: str = ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _first_blocks(replaced_by: str = "") -> PositionRule:
    """The first blocks, as many as the value is, differ from the others."""
    return PositionRule(
        fits=_is_number,
        kind=lambda value, block: block < value,
        adjust=lambda value, sources: sum(source < value for source in sources),
        replaced_by=replaced_by,
    )


_UP_TO = PositionRule(
    fits=_is_number,
    kind=lambda value, block: block <= value,
    adjust=lambda value, sources: sum(source <= value for source in sources) - 1,
)
"""Blocks up to the value, included, differ from those above."""

_LISTED = PositionRule(
    fits=_is_list,
    kind=lambda value, block: block in value,
    adjust=lambda value, sources: [block for block, source in enumerate(sources) if source in value],
)
"""The blocks whose positions are listed differ from the others."""


def _every(kind: Callable[[int, int], object], replaced_by: str = "") -> PositionRule:
    """Kinds repeat with a period."""
    return PositionRule(
        fits=lambda value: _is_number(value) and value > 0,
        kind=kind,
        adjust=lambda value, sources: value,
        replaced_by=replaced_by,
    )


def _is_last(period: int, block: int) -> bool:
    return (block + 1) % period == 0


def _position(period: int, block: int) -> int:
    return block % period


POSITION_RULES: Mapping[str, PositionRule] = {
    "first_k_dense_replace": _first_blocks("mlp_layer_types"),
    "num_dense_layers": _first_blocks("mlp_layer_types"),
    "max_window_layers": _first_blocks("layer_types"),
    "moe_layer_start_index": _first_blocks(),
    "moe_layer_end_index": _UP_TO,
    "mlp_only_layers": _LISTED,
    "moe_layers": _LISTED,
    "full_attn_idxs": _LISTED,
    "attn_layer_indices": _LISTED,
    "cross_attention_layers": _LISTED,
    "hybrid_layer_ids": _LISTED,
    "decoder_sparse_step": _every(_is_last),
    "moe_layer_interval": _every(_is_last),
    "moe_layer_freq": _every(_position),
    "expert_layer_period": _every(_position),
    "attn_layer_period": _every(_position),
    "interleave_moe_layer_step": _every(_is_last, "moe_layers"),
    "no_rope_layer_interval": _every(_is_last, "no_rope_layers"),
    "sliding_window_pattern": _every(_is_last, "layer_types"),
    "full_attention_interval": _every(_is_last, "layer_types"),
    "global_attn_every_n_layers": _every(_is_last, "layer_types"),
}
"""The rules by the key in a config."""


def adjust_rules(section: Mapping[str, Any], sources: Sequence[int]) -> dict[str, Any]:
    """The values after growth of all rules that a config has.

    Args:
        section: the part of a config.json about the language model.
        sources: for each block after growth, the block before growth that it is like.
    """
    return {
        key: rule.adjust(section[key], sources)
        for key, rule in POSITION_RULES.items()
        if key in section and rule.fits(section[key])
    }


def check_rules(old: Mapping[str, Any], new: Mapping[str, Any], sources: Sequence[int]) -> None:
    """Check that each block is of the same kind as the block that it is like.

    Raises:
        InvalidValueError: it is not, and no list of the new config replaces the rule.
    """
    for key, rule in POSITION_RULES.items():
        if key not in old or not rule.fits(old[key]) or rule.replaced_by in new:
            continue
        pairs = list(enumerate(sources))
        if all(rule.kind(new[key], block) == rule.kind(old[key], source) for block, source in pairs):
            continue
        differ = (pair for pair in pairs if rule.kind(old[key], pair[0]) != rule.kind(old[key], pair[1]))
        block, source = next(differ)
        raise InvalidValueError(
            f"cannot be grown by this layout: {key} {old[key]} in its config.json gives blocks their kind by "
            f"position, so block {block} cannot be like block {source}",
            field="checkpoint",
            remedy="use a layout in which each block keeps its kind",
        )
