"""Token shards in a folder: a training and a validation split, with a dataset.json beside.

File names contain `train` or `val`; several of one split are read in the order of their names. `dataset.json`
names the tokenizer and the sha256 of each shard; without it a folder is read as it is. Every shard is read
whole once before training: its hash and its highest token are looked at, never a sample.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepen.data.description import FILE, Description, inside, read_description
from deepen.data.shard_file import DataError as DataError
from deepen.data.shard_file import TokenArray as TokenArray
from deepen.data.shard_file import examine_shard, read_shard
from deepen.data.shard_file import write_shard as write_shard
from deepen.durable import write_whole


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


def write_dataset(
    folder: Path,
    name: str,
    vocab: int,
    tokenizer: str,
    splits: Mapping[str, TokenArray],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write shards, the tokenizer's JSON and dataset.json, the last last; each is there whole or not at all.

    Args:
        name: begins the shards' names; plain, without `train` or `val` in it.
        splits: tokens by split, `train` and `validation`.
        tokenizer: the JSON text of a `tokenizers` tokenizer.
        about: what else dataset.json is to say, such as what was left out.

    Raises:
        DataError: a split is missing or empty, has tokens beyond the vocabulary, or is the other one.
    """
    if not name or Path(name).name != name or "train" in name or "val" in name:
        raise DataError(f"dataset name {name!r} is no beginning of shard names: leave out /, train and val")
    for split in ("train", "validation"):
        if split not in splits or not len(splits[split]):
            raise DataError(f"dataset {name} has no {split} tokens: give it documents")
        if (highest := int(splits[split].max())) >= vocab:
            raise DataError(f"dataset {name} has token {highest} in {split}, its vocabulary ends at {vocab - 1}")
    if np.array_equal(splits["train"], splits["validation"]):
        raise DataError(f"dataset {name} has the same tokens in train and validation: hold documents out")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "tokenizer.json", tokenizer.encode())
    shards = {}
    for split, short in (("train", "train"), ("validation", "val")):
        path = folder / f"{name}_{short}_000000.bin"
        shards[path.name] = write_shard(path, splits[split])
    description = {
        "name": name,
        "vocab": vocab,
        "tokenizer_sha256": hashlib.sha256(tokenizer.encode()).hexdigest(),
        "shards": shards,
        **(about or {}),
    }
    write_whole(folder / FILE, json.dumps(description, indent=2).encode())


def open_dataset(folder: Path, vocab: int) -> Dataset:
    """Open a folder of shards for a model of `vocab` tokens, after reading all of it once.

    Raises:
        DataError: no shards, a shard that is empty, truncated, in both splits, not the one dataset.json
            describes or there a link out of the folder, or tokens that the model does not have.
    """
    try:
        if not folder.is_dir():
            hint = "name a folder of token shards, or leave --data out"
            raise DataError(f"data folder {folder} {'is a file' if folder.exists() else 'does not exist'}: {hint}")
        train, validation = _splits(folder)
        paths = (*train, *validation)
        description = read_description(folder)
        for path in paths:
            if description:  # a plain folder may link to shards kept elsewhere; a prepared one is whole in itself
                inside(folder, path)
            read_shard(path)
        if description and description.vocab > vocab:
            raise DataError(
                f"data in {folder} has a vocabulary of {description.vocab:,}, the model only {vocab:,}: "
                "use another model"
            )
        hashes = _examine(folder, paths, description.vocab if description else vocab, description)
    except OSError as error:
        raise DataError(f"data folder {folder} cannot be read: {error.strerror or error}") from None
    if both := {hashes[path] for path in train} & {hashes[path] for path in validation}:
        one, other = (next(path.name for path in split if hashes[path] in both) for split in (train, validation))
        raise DataError(
            f"shards {one} and {other} in {folder} are the same: validation would be on what was trained on; "
            "hold other data out"
        )
    return Dataset(
        folder=folder,
        name=(description.name if description else "") or folder.name,
        vocab=description.vocab if description else vocab,
        fingerprint=_fingerprint(hashes, description),
        train=train,
        validation=validation,
    )


def _splits(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The shards of each split; a name that could be either is refused."""
    train, validation = (tuple(sorted(folder.glob(f"*{split}*.bin"))) for split in ("train", "val"))
    if both := set(train) & set(validation):
        raise DataError(f"shard {min(both)} is named both train and val: rename it")
    for split, paths in (("train", train), ("val", validation)):
        if not paths:
            raise DataError(f"data folder {folder} has no shard named *{split}*.bin: prepare or copy one")
    return train, validation


def _examine(folder: Path, paths: Sequence[Path], vocab: int, description: Description | None) -> dict[Path, str]:
    """The sha256 of every shard, once each is what dataset.json says and within the vocabulary."""
    if description:
        here = {path.name for path in paths}
        if missing := sorted(set(description.shards) - here):
            raise DataError(f"shard {folder / missing[0]} is missing, but {FILE} names it: copy it too")
        if unknown := sorted(here - set(description.shards)):
            raise DataError(f"shard {folder / unknown[0]} is not among those of {FILE}: move it away")
    hashes = {}
    for path in paths:
        hashes[path], highest = examine_shard(path)
        if description and hashes[path] != description.shards[path.name]:
            raise DataError(f"shard {path} is not the one that {FILE} describes: prepare the data again")
        if highest >= vocab:
            whose = f"{FILE}'s" if description else "the model's"
            raise DataError(
                f"shard {path} has token {highest}, {whose} vocabulary ends at {vocab - 1}: "
                "it was made with another tokenizer"
            )
    return hashes


def _fingerprint(hashes: Mapping[Path, str], description: Description | None) -> str:
    """Identifies all the tokens, in their splits and order, and with dataset.json the tokenizer."""
    by_name = {path.name: sha for path, sha in hashes.items()}
    told: list[Any] = [by_name, description.tokenizer_sha256] if description else [by_name]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
