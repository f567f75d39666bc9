"""Write a checkpoint as a folder that Hugging Face's `transformers` loads without code of ours.

model.safetensors, or several and their index    weights, one tensor in memory at a time
config.json, generation_config.json
tokenizer.json, tokenizer_config.json            where the tokenizer is known
README.md                                        the model card
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import torch

from deepen import durable
from deepen.data.tokenizers import Tokenizer, load_tokenizer
from deepen.errors import InvalidValueError
from deepen.interop.card import make_card
from deepen.interop.checkpoint import Checkpoint, DeepenCheckpoint
from deepen.interop.checkpoint_files import copy_tokenizer_settings
from deepen.interop.hugging_face.config import make_config
from deepen.interop.hugging_face.names import to_hugging_face
from deepen.interop.hugging_face.shards import SHARD_BYTES, NewTensor, OnBytes, write_all, write_shards
from deepen.model.config import ModelConfig
from deepen.model.lazy import LazyTensor, unread
from deepen.train.checkpoint.state_files import open_files

DTYPES = {"fp32": (torch.float32, "F32", "float32"), "bf16": (torch.bfloat16, "BF16", "bfloat16")}
"""Types of exported weights: torch's, and its names in safetensors and in config.json."""

OnShare = Callable[[float], None]
"""Receives the share of the weights that is written."""


def export_hugging_face(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    dtype: str = "fp32",
    shard_bytes: int = SHARD_BYTES,
    on_share: OnShare = lambda share: None,
) -> None:
    """Write a checkpoint to a new folder in Hugging Face's format, which appears when it is complete.

    Args:
        checkpoint: a checkpoint of deepen's.
        folder: the folder; it must not exist, or be empty.
        dtype: type of the weights, fp32 or bf16.
        shard_bytes: the largest file of weights.
        on_share: receives the share of the weights that is written.

    Raises:
        InvalidValueError: the checkpoint is in Hugging Face's format already, its tokenizer does not fit the
            model, or the folder is in use.
    """
    if not isinstance(checkpoint, DeepenCheckpoint):
        raise InvalidValueError(
            f"{checkpoint.folder} is in Hugging Face's format already",
            field="checkpoint",
            value=checkpoint.folder,
            remedy="copy the folder",
        )
    durable.check_new_folder(folder, "out")
    model = checkpoint.model
    tokenizer = None if checkpoint.tokenizer is None else load_tokenizer(checkpoint.tokenizer, model.vocab)
    with durable.new_folder(folder) as new:
        _write_weights(checkpoint, new, dtype, shard_bytes, on_share)
        if checkpoint.tokenizer is not None:
            copy_tokenizer_settings(checkpoint.tokenizer, new)
        if tokenizer is not None:
            durable.write(new / "tokenizer.json", tokenizer.to_json().encode())
            _write_missing(new / "tokenizer_config.json", _tokenizer_config(tokenizer, model))
            _complete(new / "tokenizer_config.json", "eos_token", _tokenizer_config(tokenizer, model))
        _write_missing(new / "generation_config.json", _generation_config(tokenizer))
        _complete(new / "generation_config.json", "eos_token_id", _generation_config(tokenizer))
        ids = _read_special_ids(new / "generation_config.json")
        config = {**make_config(model), **ids, "dtype": DTYPES[dtype][2]}
        durable.write(new / "config.json", _encode(config))
        durable.write(new / "README.md", make_card(folder.resolve().name, checkpoint).encode())


def _write_weights(
    checkpoint: DeepenCheckpoint, folder: Path, dtype: str, shard_bytes: int, on_share: OnShare
) -> None:
    """Write the weights under Hugging Face's names; a block that several layers share is written for each."""
    copies = defaultdict[str, list[str]](list)
    for layer, block in enumerate(checkpoint.layers or range(checkpoint.model.depth)):
        copies[f"blocks.{block}"].append(f"blocks.{layer}")
    tensors = []
    for name, stored in unread(open_files(checkpoint.folder).weights).items():
        assert isinstance(stored, LazyTensor)
        prefix = ".".join(name.split(".")[:2])
        names = [copy + name.removeprefix(prefix) for copy in copies.get(prefix, [prefix])]
        tensors += [_convert(checkpoint.model, stored, name, new, dtype) for new in names]
    total, written = sum(tensor.bytes for tensor in tensors), 0

    def on_bytes(count: int) -> None:
        nonlocal written
        written += count
        on_share(written / total)

    write_shards(tensors, folder, shard_bytes=shard_bytes, on_bytes=on_bytes)


def _convert(model: ModelConfig, stored: LazyTensor, name: str, new: str, dtype: str) -> NewTensor:
    """The tensor `new`, stored as `name`, under Hugging Face's name and in its shape, not yet read."""
    kind, called, _ = DTYPES[dtype]
    ((theirs, like),) = to_hugging_face(model, {new: torch.empty(stored.shape, dtype=kind, device="meta")}).items()
    return NewTensor(
        name=theirs,
        dtype=called,
        shape=tuple(like.shape),
        bytes=like.numel() * like.element_size(),
        content=_Converted(model, stored, name, kind),
    )


@dataclass(frozen=True, slots=True)
class _Converted:
    """The bytes of a tensor of a state, in Hugging Face's shape."""

    model: ModelConfig
    stored: LazyTensor
    name: str
    dtype: torch.dtype

    def write_to(self, file: FileIO, size: int, on_bytes: OnBytes) -> None:
        """Write the bytes, in one piece."""
        (tensor,) = to_hugging_face(self.model, {self.name: self.stored.load()}).values()
        write_all(file, tensor.to(self.dtype).contiguous().flatten().view(torch.uint8).numpy().data)
        on_bytes(size)


def _generation_config(tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Generation settings: the end-of-text token begins and ends a text, and pads a batch."""
    if tokenizer is None or tokenizer.end_of_text is None:
        return {}
    return dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.end_of_text)


def _read_special_ids(path: Path) -> dict[str, Any]:
    """The tokens before and after a document, as a generation_config.json names them."""
    content = _read_object(path) or {}
    return {name: content[name] for name in ("bos_token_id", "eos_token_id") if name in content}


def _tokenizer_config(tokenizer: Tokenizer, model: ModelConfig) -> dict[str, Any]:
    names = {}
    if tokenizer.end_of_text is not None:
        name = tokenizer.decode([tokenizer.end_of_text])
        names = {"bos_token": name, "eos_token": name}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.context,
        "clean_up_tokenization_spaces": False,
        **names,
    }


def _write_missing(path: Path, content: dict[str, Any]) -> None:
    """Write a file unless the checkpoint brought it."""
    if not path.exists():
        durable.write(path, _encode(content))


def _complete(path: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Add a setting to a file that the checkpoint brought and that lacks it; without an end, no text would end."""
    content = _read_object(path)
    if name not in settings or content is None or content.get(name) is not None:
        return
    if name in (_read_object(path.with_name("special_tokens_map.json")) or {}):
        return
    durable.write(path, _encode({**content, name: settings[name]}))


def _read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _encode(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
