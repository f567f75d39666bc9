"""A dataset: a folder of token shards, split into training and validation.

    data/sotu_train_000000.bin   names contain `train` or `val`, and end in .bin or .npy (see `shard_formats`);
    data/sotu_val_000000.bin     several shards of one split are read in the order of their names
    data/train/part-0.npy        or the shards of a split are in a folder with such a name
    data/tokenizer.json          optional: tasks need it
    data/dataset.json            optional: the sha256 of each shard and of the tokenizer

All shards are read once before training: each is hashed, and its highest token compared with the vocabulary.
A dataset is identified by its tokens, not by its path: a moved or renamed folder is the same data.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepen.data.description import FILE, Description, read_description
from deepen.data.errors import DataError, unreadable
from deepen.data.shard_file import Shard, TokenArray, examine_shard
from deepen.data.shard_formats import SUFFIXES, read_layout
from deepen.data.tokenizers import hash_tokenizer

SPLITS = {"train": "train", "validation": "val"}
"""For each split, what the names of its shards contain."""

OnPreparation = Callable[[str, float | None], None]
"""Receives what is being prepared, and the share that is done; None if that is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Token shards of one tokenizer: a training and a validation split.

    Attributes:
        name: for results and their page.
        fingerprint: identifies all tokens with their order and split.
        tokenizer_sha256: identifies the tokenizer beside the shards; empty if there is none.
    """

    folder: Path
    name: str
    vocab: int
    fingerprint: str
    tokenizer_sha256: str
    train: tuple[Shard, ...]
    validation: tuple[Shard, ...]

    @property
    def identity(self) -> dict[str, str]:
        """The hashes that identify the data, as study.json records them."""
        return {"fingerprint": self.fingerprint, "tokenizer_sha256": self.tokenizer_sha256}

    def check_context(self, context: int) -> None:
        """Raise a DataError unless both splits have a window of `context` tokens and the token after it."""
        for split in SPLITS:
            length = self.count(split)
            if length <= context:
                raise DataError(
                    f"in {self.folder} has {length} tokens in its {split} split, not one window of {context}",
                    field="data",
                    value=self.folder,
                )

    def count(self, split: str) -> int:
        """The number of tokens of a split (`train` or `validation`)."""
        return sum(len(shard) for shard in self._shards(split))

    def tokens(self, split: str) -> "Tokens":
        """All tokens of a split (`train` or `validation`).

        Raises:
            RunError: a shard has another content than when the dataset was opened.
        """
        for shard in self._shards(split):
            shard.check_unchanged()
        return Tokens(self._shards(split))

    def _shards(self, split: str) -> tuple[Shard, ...]:
        return self.train if split == "train" else self.validation

    def with_absolute_paths(self) -> "Dataset":
        """The same dataset, for a process with another working directory."""
        train, validation = (
            tuple(replace(shard, path=shard.path.resolve()) for shard in shards)
            for shards in (self.train, self.validation)
        )
        return replace(self, folder=self.folder.resolve(), train=train, validation=validation)


class Tokens:
    """Shards in order, read as one array that is never completely in memory."""

    def __init__(self, shards: Sequence[TokenArray | Shard]) -> None:
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
        offset = start - self._starts[shard]
        tokens: TokenArray = self._shards[shard][offset : offset + length]
        if len(tokens) == length:
            return tokens
        rest = self.window(start + len(tokens), length - len(tokens))
        return np.concatenate([tokens, rest])


def open_dataset(
    folder: Path,
    vocab: int,
    on_progress: OnPreparation = lambda what, share: None,
    *,
    dtype: str | None = None,
) -> Dataset:
    """Open a folder of shards for a model of `vocab` tokens, after reading all of it once.

    Args:
        folder: the folder.
        vocab: tokens of the model.
        dtype: the type of the tokens in files without a header: `uint16` or `uint32`.
        on_progress: receives what is done, and its share that is done.

    Raises:
        DataError: there are no shards; one is empty, truncated, in both splits, or not the one that dataset.json
            describes; a described shard is a link out of the folder; or a token is outside the vocabulary.
    """
    try:
        if not folder.is_dir():
            raise DataError(
                f"folder {folder} {'is a file' if folder.exists() else 'does not exist'}",
                field="data",
                value=folder,
                remedy="name a folder of token shards, or leave `data` out",
            )
        paths = _find_shards(folder)
        description = read_description(folder)
        if description:
            _check_vocabulary(folder, description, vocab)
        shards = _check_shards(folder, paths, description, vocab, dtype, on_progress)
        tokenizer_sha256 = hash_tokenizer(folder)
    except OSError as error:
        raise unreadable(f"folder {folder}", folder, error) from None
    _check_held_out(folder, shards)
    name = description.name if description and description.name else folder.name
    return Dataset(
        folder=folder,
        name=name.encode("utf-8", "replace").decode(),  # a folder's name may be any bytes
        vocab=description.vocab if description else vocab,
        fingerprint=_fingerprint(shards),
        tokenizer_sha256=tokenizer_sha256,
        train=shards["train"],
        validation=shards["validation"],
    )


def _find_shards(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The shards of each split; a name that fits both splits is refused."""
    splits = {split: tuple(sorted(_find_split(folder, part))) for split, part in SPLITS.items()}
    if both := set(splits["train"]) & set(splits["validation"]):
        raise DataError(f"shard {min(both)} is named both train and val", value=min(both), remedy="rename it")
    for split, part in SPLITS.items():
        if not splits[split]:
            raise DataError(
                f"folder {folder} has no shard named *{part}*.bin or *{part}*.npy",
                field="data",
                value=folder,
                remedy=_remedy_without_shards(folder),
            )
    return splits


def _find_split(folder: Path, part: str) -> Iterator[Path]:
    """The shards in a folder whose names contain `part`, and all shards in its folders with such names."""
    for path in folder.glob(f"*{part}*"):
        if not path.name.startswith("."):
            paths = path.iterdir() if path.is_dir() and path.suffix not in SUFFIXES else [path]
            yield from (each for each in paths if each.suffix in SUFFIXES and not each.name.startswith("."))


def _remedy_without_shards(folder: Path) -> str:
    has_text = any(path.suffix in (".parquet", ".jsonl", ".gz", ".zst", ".txt") for path in folder.iterdir())
    return "tokenize its text first, with `deepen data prepare`" if has_text else "prepare or copy one"


def _check_vocabulary(folder: Path, description: Description, vocab: int) -> None:
    if description.vocab > vocab:
        raise DataError(
            f"in {folder} has a vocabulary of {description.vocab:,}, the model only {vocab:,}",
            field="data",
            value=folder,
            remedy="use another model",
        )


def _check_shards(
    folder: Path,
    paths: Mapping[str, Sequence[Path]],
    description: Description | None,
    vocab: int,
    dtype: str | None,
    on_progress: OnPreparation,
) -> dict[str, tuple[Shard, ...]]:
    """The shards of each split, after checking them against dataset.json and the vocabulary."""
    every_path = [path for split in paths.values() for path in split]
    for path in every_path:  # the quick checks of all come first
        read_layout(path, dtype)
    if description:
        _check_names(folder, {path.name for path in every_path}, set(description.shards))
    total, read = sum(path.stat().st_size for path in every_path), 0

    def on_bytes(count: int) -> None:
        nonlocal read
        read += count
        on_progress(f"checking {folder}", read / total)

    return {
        split: tuple(_check_shard(path, description, vocab, dtype, on_bytes) for path in paths[split])
        for split in paths
    }


def _check_shard(
    path: Path, description: Description | None, vocab: int, dtype: str | None, on_bytes: Callable[[int], None]
) -> Shard:
    shard, highest = examine_shard(path, dtype, on_bytes)
    if description and shard.sha256 != description.shards[path.name]:
        problem = f"shard {path} is not the one that {FILE} describes"
        raise DataError(problem, value=path, remedy="prepare the data again")
    limit = description.vocab if description else vocab
    if highest >= limit:
        whose = f"{FILE}'s" if description else "the model's"
        remedy = (
            f"prepare the data again, or correct {FILE}"
            if description
            else "use a model whose vocab is the tokenizer's, or data of a smaller tokenizer"
        )
        raise DataError(
            f"shard {path} has token {highest}, {whose} vocabulary ends at {limit - 1}",
            value=path,
            remedy=remedy,
        )
    return shard


def _check_names(folder: Path, found: set[str], described: set[str]) -> None:
    if missing := sorted(described - found):
        path = folder / missing[0]
        raise DataError(f"shard {path} is missing, but {FILE} names it", value=path, remedy="copy it too")
    if unknown := sorted(found - described):
        path = folder / unknown[0]
        raise DataError(f"shard {path} is not among those of {FILE}", value=path, remedy="move it away")


def _check_held_out(folder: Path, shards: Mapping[str, Sequence[Shard]]) -> None:
    """Raise a DataError if a shard is in both splits."""
    trained = {shard.sha256: shard for shard in shards["train"]}
    for held_out in shards["validation"]:
        if held_out.sha256 in trained:
            raise DataError(
                f"shards {trained[held_out.sha256].path.name} and {held_out.path.name} in {folder} are the same: "
                "the validation set would be trained on",
                value=folder,
                remedy="hold other data out",
            )


def _fingerprint(shards: Mapping[str, Sequence[Shard]]) -> str:
    content = {split: [shard.identity for shard in shards[split]] for split in shards}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
