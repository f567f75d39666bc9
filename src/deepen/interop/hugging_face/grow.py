"""Grow a Hugging Face checkpoint of any decoder on disk, without loading it.

    model.safetensors                     12 blocks         model-00001-of-00002.safetensors   24 blocks
    config.json         "num_hidden_layers": 12     ──▶     config.json  "num_hidden_layers": 24
    tokenizer.json, generation_config.json                  the same

Every tensor of the result is a tensor of the checkpoint, copied from file to file in pieces, or is made when it is
written. So memory does not depend on the size of the model.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.growth.layout import GrownBlock
from deepen.growth.spec import GrowthStep
from deepen.interop.hugging_face.block_check import check_blocks, warn_without_head
from deepen.interop.hugging_face.block_identity import find_identity_values
from deepen.interop.hugging_face.block_list import BlockList, find_blocks, find_section
from deepen.interop.hugging_face.computed import make_computed
from deepen.interop.hugging_face.fresh import find_std, make_fresh
from deepen.interop.hugging_face.grown_config import is_tied, make_grown_config
from deepen.interop.hugging_face.shards import (
    SHARD_BYTES,
    Content,
    NewTensor,
    OnBytes,
    Repeated,
    Stored,
    write_shards,
)
from deepen.interop.hugging_face.weight_files import WEIGHT_SUFFIXES, find_tensors
from deepen.train.checkpoint.tensor_file import StoredTensor, encode_number

_INDEX_SUFFIX = ".index.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowableFolder:
    """A Hugging Face folder that can be grown; its tensors are not read.

    Attributes:
        folder: the folder.
        config: the content of config.json.
        blocks: the list of its blocks.
        tensors: where each tensor is.
    """

    folder: Path
    config: Mapping[str, Any]
    blocks: BlockList
    tensors: Mapping[str, StoredTensor]

    @property
    def depth(self) -> int:
        """How many blocks it has."""
        return self.blocks.depth

    @property
    def parameters(self) -> int:
        """Numbers in all its tensors."""
        return sum(prod(tensor.shape) for tensor in self.tensors.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class GrownFolder:
    """What the folder of a grown model will contain.

    Attributes:
        config: the content of config.json.
        tensors: in the order in which they are written.
    """

    config: Mapping[str, Any]
    tensors: Sequence[NewTensor]

    @property
    def bytes(self) -> int:
        """The size of all tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(prod(tensor.shape) for tensor in self.tensors)


def open_growable(folder: Path, config: Mapping[str, Any]) -> GrowableFolder:
    """Read the headers of a folder's tensor files and find its blocks.

    Raises:
        InvalidValueError: files are missing or damaged, or it is not a decoder with one numbered list of blocks.
    """
    tensors = find_tensors(folder)
    blocks = find_blocks(config, tensors)
    check_blocks(find_section(config), blocks, tensors)
    warn_without_head(tensors, blocks, tied=is_tied(config))
    return GrowableFolder(folder=folder, config=config, blocks=blocks, tensors=tensors)


def plan_growth(growable: GrowableFolder, step: GrowthStep) -> GrownFolder:
    """Make the config of the grown model and find the content of each of its tensors.

    Args:
        growable: the checkpoint.
        step: what each block of the result is.

    Raises:
        InvalidValueError: the model cannot be grown so.
    """
    sources = _find_sources(step.blocks)
    config = make_grown_config(growable.config, growable.blocks, sources)
    return GrownFolder(config=config, tensors=tuple(_find_contents(growable, step, sources)))


def write_grown(
    growable: GrowableFolder,
    grown: GrownFolder,
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    on_bytes: OnBytes = lambda count: None,
) -> None:
    """Write the folder of a grown model.

    Args:
        growable: the checkpoint that grew, whose tokenizer and further files are copied.
        grown: what to write.
        folder: an empty folder.
        shard_bytes: the size of a file of tensors.
        on_bytes: receives the number of bytes written since its last call.
    """
    write_shards(grown.tensors, folder, shard_bytes=shard_bytes, on_bytes=on_bytes)
    durable.write(folder / "config.json", (json.dumps(grown.config, indent=2) + "\n").encode())
    for path in growable.folder.iterdir():
        if path.is_file() and _is_copied(path.name):
            shutil.copyfile(path, folder / path.name)


def _is_copied(name: str) -> bool:
    """Whether a file belongs to the grown model too: tokenizer, generation config, model code, licence."""
    if name.startswith(".") or name == "config.json":
        return False
    return not name.endswith((*WEIGHT_SUFFIXES, _INDEX_SUFFIX))


def _find_sources(blocks: Sequence[GrownBlock]) -> list[int]:
    """For each block the old block that it is like: its source, or the old block below a fresh one."""
    sources: list[int] = []
    lowest = next(block.source for block in blocks if block.source is not None)
    for block in blocks:
        sources.append(block.source if block.source is not None else sources[-1] if sources else lowest)
    return sources


def _find_contents(growable: GrowableFolder, step: GrowthStep, sources: Sequence[int]) -> Iterator[NewTensor]:
    """The tensors of the grown model: what precedes the blocks, the blocks, what follows."""
    listed = growable.blocks
    own: dict[int, dict[str, StoredTensor]] = {}
    outside: dict[str, StoredTensor] = {}
    for name, tensor in growable.tensors.items():
        place = listed.split(name)
        if place is None:
            outside[name] = tensor
        else:
            own.setdefault(place[0], {})[place[1]] = tensor
    for name, tensor in outside.items():
        yield _new_tensor(name, tensor, Stored(tensor))
    for index, source in enumerate(sources):
        for name, content in _block_contents(growable, own, step, index, source).items():
            yield _new_tensor(listed.name(index, name), own[source][name], content)
    for extra in range(listed.extra):
        for name, tensor in own[listed.depth + extra].items():
            yield _new_tensor(listed.name(step.depth + extra, name), tensor, Stored(tensor))


def _block_contents(
    growable: GrowableFolder,
    own: Mapping[int, Mapping[str, StoredTensor]],
    step: GrowthStep,
    index: int,
    source: int,
) -> dict[str, Content]:
    """The content of each tensor of a block, by name within it.

    Args:
        growable: the checkpoint.
        own: the tensors of each block before growth, by name within it.
        step: the growth.
        index: the block, after growth.
        source: the block before growth that lends its shapes.
    """
    block, tensors, section = step.blocks[index], own[source], find_section(growable.config)
    contents: dict[str, Content] = {name: Stored(tensor) for name, tensor in tensors.items()}
    values: dict[str, float] = {}
    if block.residual_scale != 1:
        values = find_identity_values(tensors, str(section.get("model_type", "")))
    if block.source is None:
        std = find_std(section)
        contents = {
            name: make_fresh(name, tensor, std=std, depth=step.depth, stream=f"{index}.{name}")
            for name, tensor in tensors.items()
        }
    elif block.is_new:
        upper = None if block.upper_source is None else own[block.upper_source]
        contents |= make_computed(
            block, tensors, upper, noise=step.noise, identity=values, stream=f"noise.{index}"
        )
    if block.zero_output:
        contents |= {name: Repeated(encode_number(value, tensors[name].dtype)) for name, value in values.items()}
    return contents


def _new_tensor(name: str, like: StoredTensor, content: Content) -> NewTensor:
    return NewTensor(name=name, dtype=like.dtype, shape=like.shape, bytes=like.bytes, content=content)
