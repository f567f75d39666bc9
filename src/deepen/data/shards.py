"""Token shards on disk: llm.c's format, which public FineWeb shards come in, with a dataset.json beside.

A shard is 256 little-endian int32 (20240520, 1, number of tokens, zeros), then the tokens as uint16. File
names contain `train` or `val`; several of one split are read in the order of their names. `dataset.json`
names tokenizer and sha256 of each shard; without it a folder is read as it is.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024
TokenArray = NDArray[np.uint16]


class DataError(ValueError):
    """Data that cannot be trained on; the message names the file and what to do."""


def write_shard(path: Path, tokens: TokenArray) -> str:
    """Write a shard; returns its sha256."""
    header = np.zeros(256, dtype="<i4")
    header[:3] = MAGIC, VERSION, len(tokens)
    content = header.tobytes() + tokens.astype("<u2").tobytes()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_shard(path: Path) -> TokenArray:
    """The tokens of a shard, memory-mapped, after its header and size were checked."""
    size = path.stat().st_size
    if size <= HEADER_BYTES:
        raise DataError(f"shard {path} is empty ({size} bytes): prepare or copy it again")
    magic, version, count = np.fromfile(path, dtype="<i4", count=3)
    if magic != MAGIC or version != VERSION:
        raise DataError(
            f"shard {path} is not an llm.c GPT-2 shard (header {magic}, {version}; expected {MAGIC}, 1)"
        )
    if size != HEADER_BYTES + 2 * count:
        raise DataError(
            f"shard {path} is truncated or damaged: its header promises {count:,} tokens, "
            f"its size holds {(size - HEADER_BYTES) // 2:,}: copy it again"
        )
    tokens: TokenArray = np.memmap(path, dtype="<u2", mode="r", offset=HEADER_BYTES)
    return tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Token shards of one tokenizer: a training and a validation split.

    `fingerprint` identifies tokens and tokenizer; a study remembers it and refuses other data.
    """

    folder: Path
    name: str
    vocab: int
    fingerprint: str
    train: tuple[Path, ...]
    validation: tuple[Path, ...]

    def check_context(self, context: int) -> None:
        """Raise a DataError unless both splits have a window of `context` tokens and its target."""
        for split in ("train", "validation"):
            if (length := len(self.tokens(split))) <= context:
                raise DataError(
                    f"the {split} split in {self.folder} has {length} tokens: not one window of {context}"
                )

    def tokens(self, split: str) -> "Tokens":
        """All tokens of a split (`train` or `validation`)."""
        return Tokens([read_shard(path) for path in (self.train if split == "train" else self.validation)])


class Tokens:
    """Shards in a row, read as if they were one array, never copied whole into memory."""

    def __init__(self, shards: Sequence[TokenArray]) -> None:
        self._shards = shards
        self._starts = [0]
        for shard in shards:
            self._starts.append(self._starts[-1] + len(shard))

    def __len__(self) -> int:
        return self._starts[-1]

    def window(self, start: int, length: int) -> TokenArray:
        """`length` tokens from `start` on."""
        assert start >= 0 and start + length <= len(self)
        shard = bisect_right(self._starts, start) - 1
        inside = start - self._starts[shard]
        tokens: TokenArray = self._shards[shard][inside : inside + length]
        if len(tokens) == length:
            return tokens
        rest = self.window(start + len(tokens), length - len(tokens))
        return np.concatenate([tokens, rest])


def write_dataset(folder: Path, name: str, vocab: int, tokenizer: str, splits: dict[str, TokenArray]) -> None:
    """Write shards, the tokenizer's JSON and dataset.json, the last last.

    Args:
        splits: tokens by split, `train` and `validation`.
        tokenizer: the JSON text of a `tokenizers` tokenizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer)
    shards = {}
    for split, tokens in splits.items():
        path = folder / f"{name}_{'train' if split == 'train' else 'val'}_000000.bin"
        shards[path.name] = write_shard(path, tokens)
    description = {
        "name": name,
        "vocab": vocab,
        "tokenizer_sha256": hashlib.sha256(tokenizer.encode()).hexdigest(),
        "shards": shards,
    }
    temporary = folder / "dataset.json.tmp"
    temporary.write_text(json.dumps(description, indent=2))
    temporary.replace(folder / "dataset.json")


def open_dataset(folder: Path, vocab: int) -> Dataset:
    """Open a folder of shards for a model of `vocab` tokens, after checking what can be checked quickly.

    Raises:
        DataError: no shards, a shard that is empty, truncated or not the one dataset.json describes, or
            tokens that the model does not have.
    """
    if not folder.is_dir():
        raise DataError(f"data folder {folder} does not exist: name a folder of token shards, or leave --data out")
    train, validation = (tuple(sorted(folder.glob(f"*{split}*.bin"))) for split in ("train", "val"))
    if both := set(train) & set(validation):
        raise DataError(f"shard {min(both)} is named both train and val: rename it")
    for split, paths in (("train", train), ("val", validation)):
        if not paths:
            raise DataError(f"data folder {folder} has no shard named *{split}*.bin")
    shards = [read_shard(path) for path in (*train, *validation)]
    description = _description(folder)
    known = int(description.get("vocab", 0))
    if known > vocab:
        raise DataError(
            f"data in {folder} has a vocabulary of {known:,}, the model only {vocab:,}: use another model"
        )
    for path, tokens in zip((*train, *validation), shards, strict=True):
        _check_shard(path, tokens, vocab, description)
    return Dataset(
        folder=folder,
        name=str(description.get("name", folder.name)),
        vocab=known or vocab,
        fingerprint=_fingerprint((*train, *validation), shards, description),
        train=train,
        validation=validation,
    )


def _description(folder: Path) -> dict[str, Any]:
    """dataset.json, which is somebody's file: nothing in it is trusted unchecked."""
    path = folder / "dataset.json"
    if not path.exists():
        return {}
    try:
        description = json.loads(path.read_text())
        assert isinstance(description["vocab"], int) and isinstance(description["shards"], dict)
    except (ValueError, KeyError, TypeError, AssertionError):
        raise DataError(f"{path} is damaged: prepare the data again") from None
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.exists():
        raise DataError(f"{tokenizer} is missing, but {path.name} names a tokenizer: copy it too")
    if hashlib.sha256(tokenizer.read_bytes()).hexdigest() != description.get("tokenizer_sha256"):
        raise DataError(f"{tokenizer} is not the tokenizer that made these shards: prepare the data again")
    return dict(description)


def _check_shard(path: Path, tokens: TokenArray, vocab: int, description: dict[str, Any]) -> None:
    if description:
        shards = description["shards"]
        if path.name not in shards:
            raise DataError(f"shard {path} is not among those of dataset.json: move it away")
        if hashlib.sha256(path.read_bytes()).hexdigest() != shards[path.name]:
            raise DataError(f"shard {path} is not the one that dataset.json describes: prepare the data again")
        return
    sample = tokens[:: max(1, len(tokens) // 1_000_000)]
    if int(sample.max()) >= vocab:
        raise DataError(
            f"shard {path} has token {int(sample.max())}, the model's vocabulary ends at {vocab - 1}: "
            "it was made with another tokenizer"
        )


def _fingerprint(paths: Sequence[Path], shards: Sequence[TokenArray], description: dict[str, Any]) -> str:
    """Names, sizes and a sample of the content; with dataset.json its hashes."""
    digest = hashlib.sha256()
    if description:
        digest.update(
            json.dumps([description["shards"], description["tokenizer_sha256"]], sort_keys=True).encode()
        )
    else:
        for path, tokens in zip(paths, shards, strict=True):
            digest.update(f"{path.name} {len(tokens)}".encode())
            digest.update(tokens[:: max(1, len(tokens) // 65536)].tobytes())
    return digest.hexdigest()[:16]
