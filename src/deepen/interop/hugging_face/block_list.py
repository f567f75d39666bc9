"""Find the blocks of any decoder among the names of its tensors, and the part of its config that describes them.

    transformer.h.0.attn.c_proj.weight                      block 0 of the list `transformer.h`
    model.layers.11.mlp.experts.3.down_proj.weight          block 11 of `model.layers`; 3 is an expert's number
    model.language_model.layers.0.self_attn.o_proj.weight   the language model, beside `model.vision_tower.layers`

Needs no torch.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deepen.errors import InvalidValueError
from deepen.growth.layout import count_blocks
from deepen.interop.hugging_face.entries import shorten

DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What the number of blocks is called in a config.json, the most usual first."""
_MTP_KEYS = ("num_nextn_predict_layers", "num_mtp_layers")
"""What the number of further blocks is called that predict later tokens and follow the others in the list."""
_FIRST_NUMBER = re.compile(r"^((?:[^.0-9][^.]*\.)+)(\d+)\.(.+)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockList:
    """The numbered list of a decoder's blocks.

    Attributes:
        prefix: what precedes a block's number in the names of its tensors, with the dot: `model.layers.`
        depth: how many blocks there are.
        extra: how many further blocks follow that predict later tokens (DeepSeek-V3). They stay at the end.
    """

    prefix: str
    depth: int
    extra: int = 0

    def split(self, name: str) -> tuple[int, str] | None:
        """The number of a tensor's block and its name within it; None if it is in no block."""
        if not name.startswith(self.prefix):
            return None
        number, _, rest = name.removeprefix(self.prefix).partition(".")
        return (int(number), rest) if number.isdigit() else None

    def name(self, block: int, name: str) -> str:
        """A tensor's name in the checkpoint."""
        return f"{self.prefix}{block}.{name}"


def find_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config that describes the language model: `text_config`, or all of it."""
    section = config.get("text_config")
    return section if isinstance(section, Mapping) and _depth_key(section) else config


def find_blocks(config: Mapping[str, Any], names: Iterable[str]) -> BlockList:
    """The blocks of the decoder that a config and the names of the tensors describe.

    Raises:
        InvalidValueError: there is no such list, there are several, or blocks are missing.
    """
    section = find_section(config)
    key = _depth_key(section)
    if key is None:
        for wrong in DEPTH_KEYS:
            if section.get(wrong) is not None:
                raise _unusable(
                    f"its config.json has {wrong} {shorten(section[wrong])}, and it must be a whole number above 0"
                )
        raise _unusable(f"its config.json has no number of blocks ({', '.join(DEPTH_KEYS)})")
    if config.get("is_encoder_decoder"):
        raise _unusable("it is an encoder with a decoder, and only decoders grow")
    depth: int = section[key]
    extra = next((section[name] for name in _MTP_KEYS if isinstance(section.get(name), int)), 0)
    lists = _count_blocks(names)
    fitting = [prefix for prefix, blocks in lists.items() if max(blocks) + 1 in (depth, depth + extra)]
    if len(fitting) > 1:
        fitting = [prefix for prefix in fitting if "language_model" in prefix] or fitting
    if not fitting:
        found = [f"{prefix}0 to {max(blocks)}" for prefix, blocks in lists.items()] or ["no numbered blocks"]
        raise _unusable(f"its config.json has {key} {depth}, but its tensors have {', '.join(found)}")
    if len(fitting) > 1:
        raise _unusable(f"it has several lists of {count_blocks(depth)}: {', '.join(fitting)}")
    [prefix] = fitting
    if missing := sorted(set(range(depth)) - lists[prefix]):
        raise _unusable(f"it has no tensors of {prefix}{missing[0]}")
    return BlockList(prefix=prefix, depth=depth, extra=max(lists[prefix]) + 1 - depth)


def _count_blocks(names: Iterable[str]) -> dict[str, set[int]]:
    """The numbers of each numbered list, by what precedes them."""
    lists: dict[str, set[int]] = {}
    for name in names:
        if match := _FIRST_NUMBER.match(name):
            lists.setdefault(match[1], set()).add(int(match[2]))
    return lists


def _depth_key(section: Mapping[str, Any]) -> str | None:
    return next((key for key in DEPTH_KEYS if type(section.get(key)) is int and section[key] > 0), None)


def _unusable(problem: str) -> InvalidValueError:
    return InvalidValueError(
        f"cannot be grown: {problem}",
        field="checkpoint",
        remedy="it must be a decoder whose blocks form one numbered list",
    )
