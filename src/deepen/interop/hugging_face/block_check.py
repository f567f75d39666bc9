"""Find what is missing or odd in the tensors of a Hugging Face folder, by comparing its blocks. Needs no torch.

The shapes that a model needs are known only to its class. But a damaged checkpoint shows in its headers: where one
block alone lacks one tensor, or has one of another shape, the others say what it should be. Blocks of several
kinds, and blocks of different widths, differ in more than one tensor. Values are not looked at.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.block_list import BlockList
from deepen.train.checkpoint.tensor_file import StoredTensor

_FEWEST = 3
"""Blocks that are compared at least: of two that differ, either could be the right one."""
_PLAIN_DTYPES = ("F64", "F32", "F16", "BF16")
"""Types whose shapes do not depend on how a tensor was quantized."""
_HEADS = ("head", "embed_out", "output")
"""Parts of the names of output heads."""
_log = logging.getLogger(__name__)

_Shapes = dict[str, tuple[int, ...]]


def check_blocks(section: Mapping[str, Any], listed: BlockList, tensors: Mapping[str, StoredTensor]) -> None:
    """Compare the blocks of a decoder.

    Logs a warning where the first or last block alone lacks a tensor, which is right in some models.

    Args:
        section: the config of the language model.
        listed: its blocks.
        tensors: its tensors by name.

    Raises:
        InvalidValueError: another block alone lacks one tensor, or one block alone has one of another shape.
    """
    blocks: list[dict[str, StoredTensor]] = [{} for _ in range(listed.depth)]
    for name, tensor in tensors.items():
        place = listed.split(name)
        if place is not None and place[0] < listed.depth:
            blocks[place[0]][place[1]] = tensor
    _check_names(section, listed, [frozenset(block) for block in blocks])
    kinds: dict[frozenset[str], list[int]] = {}
    for number, block in enumerate(blocks):
        kinds.setdefault(frozenset(block), []).append(number)
    for numbers in kinds.values():
        if len(numbers) >= _FEWEST:
            _check_shapes(listed, {number: blocks[number] for number in numbers})


def warn_without_head(tensors: Mapping[str, StoredTensor], listed: BlockList, *, tied: bool) -> None:
    """Log a warning if a language model has neither an output head nor tied embeddings."""
    outside = [name for name in tensors if listed.split(name) is None]
    if not tied and not any(part in name for name in outside for part in _HEADS):
        _log.warning(
            "the checkpoint has no tensor lm_head.weight, and its config does not tie the output to the "
            "embeddings: what loads it may make the output head at random"
        )


def _check_names(section: Mapping[str, Any], listed: BlockList, names: Sequence[frozenset[str]]) -> None:
    counts = Counter(names)
    for number, own in enumerate(names):
        alike = [full for full, count in counts.items() if count >= _FEWEST - 1 and full > own]
        lacking = [full - own for full in alike if len(full - own) == 1]
        if counts[own] > 1 or not lacking:
            continue
        full = next(full for full in alike if full - own == lacking[0])
        if _kind(section, listed, number) not in {
            _kind(section, listed, other) for other, each in enumerate(names) if each == full
        }:
            continue
        [missing] = lacking[0]
        name = listed.name(number, missing)
        if number in (0, listed.depth - 1):
            _log.warning("the checkpoint has no tensor %s, which only this block lacks; is it complete?", name)
        else:
            raise _damaged(f"has no tensor {name}, which only this block lacks")


def _check_shapes(listed: BlockList, blocks: Mapping[int, Mapping[str, StoredTensor]]) -> None:
    """Raise an error if one of several blocks with the same names has a single tensor of an odd shape."""
    odd: dict[int, _Shapes] = {}
    usual: _Shapes = {}
    for name in next(iter(blocks.values())):
        shapes = Counter(block[name].shape for block in blocks.values())
        [(most, count), *_] = shapes.most_common(1)
        usual[name] = most
        if count == len(blocks):
            continue
        for number, block in blocks.items():
            if block[name].shape != most:
                odd.setdefault(number, {})[name] = block[name].shape
    if len(odd) != 1:
        return
    [(number, shapes_of_block)] = odd.items()
    if len(shapes_of_block) != 1:
        return
    [(name, shape)] = shapes_of_block.items()
    if blocks[number][name].dtype in _PLAIN_DTYPES:
        raise _damaged(
            f"has {listed.name(number, name)} of shape {shape}, and the other blocks have it of shape "
            f"{usual[name]}"
        )


def _kind(section: Mapping[str, Any], listed: BlockList, number: int) -> tuple[str, ...]:
    """What a config's lists with an entry per block say of a block."""
    return tuple(
        str(value[number]) for value in section.values() if isinstance(value, list) and len(value) == listed.depth
    )


def _damaged(problem: str) -> InvalidValueError:
    return InvalidValueError(f"{problem}: it is damaged", field="checkpoint", remedy="copy it again")
