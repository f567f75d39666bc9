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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepen.data.description import Description, read_description
from deepen.data.errors import DataError, unreadable
from deepen.data.shard_checks import (
    SPLITS,
    check_held_out,
    check_shard,
    check_tokenizer,
    check_vocabulary,
    compare_names,
    find_shards,
)
from deepen.data.shard_file import Shard, TokenArray, TokenFile
from deepen.data.shard_formats import read_layout
from deepen.data.tokenizer_files import hash_tokenizer
from deepen.data.tokenizers import Tokenizer, copy_tokenizer, make_tokenizer

OnPreparation = Callable[[str, float | None], None]
"""Receives what is being prepared, and the share that is done; None if that is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Token shards of one tokenizer: a training and a validation split.

    Attributes:
        name: for results and their page.
        fingerprint: identifies all tokens with their order and split.
        tokenizer: what `make_tokenizer` makes the tokenizer of, mostly the folder; empty if there is none.
        tokenizer_sha256: identifies the tokenizer; empty if there is none.
    """

    folder: Path
    name: str
    vocab: int
    fingerprint: str
    tokenizer: str
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
                    remedy="use a smaller `context`, or data with more tokens",
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

    def load_tokenizer(self, vocab: int | None = None) -> Tokenizer:
        """The tokenizer of the tokens.

        Args:
            vocab: vocabulary of the model; the tokenizer's must not be larger.

        Raises:
            DataError: there is none, it cannot be read, or it cannot have made these tokens.
            RunError: it has another content than when the dataset was opened.
        """
        if not self.tokenizer:
            return make_tokenizer(str(self.folder.absolute()))  # which raises the error of a missing tokenizer
        tokenizer = make_tokenizer(self.tokenizer, vocab, sha256=self.tokenizer_sha256)
        check_tokenizer(tokenizer, self.tokenizer, (*self.train, *self.validation))
        return tokenizer

    def with_tokenizer_in(self, folder: Path) -> "Dataset":
        """The same dataset, with a copy of its tokenizer in a folder of its own; unchanged if it has none."""
        if not self.tokenizer:
            return self
        copy_tokenizer(self.tokenizer, folder, self.tokenizer_sha256)
        return replace(self, tokenizer=str(folder))

    def with_absolute_paths(self) -> "Dataset":
        """The same dataset, for a process with another working directory."""
        train, validation = (
            tuple(replace(shard, path=shard.path.resolve()) for shard in shards)
            for shards in (self.train, self.validation)
        )
        tokenizer = str(Path(self.tokenizer).resolve()) if Path(self.tokenizer).exists() else self.tokenizer
        return replace(self, folder=self.folder.resolve(), train=train, validation=validation, tokenizer=tokenizer)


class Tokens:
    """Shards in order, read as one array that is never completely in memory."""

    def __init__(self, shards: Sequence[TokenArray | TokenFile]) -> None:
        self._shards = shards
        self._starts = [0]
        for shard in shards:
            self._starts.append(self._starts[-1] + len(shard))

    def __len__(self) -> int:
        return self._starts[-1]

    def window(self, start: int, length: int) -> TokenArray:
        """`length` tokens from `start` on."""
        assert start >= 0 and length > 0 and start + length <= len(self)
        parts: list[TokenArray] = []
        while length:
            shard = bisect_right(self._starts, start) - 1
            offset = start - self._starts[shard]
            parts.append(self._shards[shard][offset : offset + length])
            start, length = start + len(parts[-1]), length - len(parts[-1])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def open_dataset(
    folder: Path,
    vocab: int,
    on_progress: OnPreparation = lambda what, share: None,
    *,
    dtype: str | None = None,
    tokenizer: str = "",
) -> Dataset:
    """Open a folder of shards for a model of `vocab` tokens, after reading all of it once.

    Args:
        folder: the folder.
        vocab: tokens of the model.
        on_progress: receives what is done, and its share that is done.
        dtype: the type of the tokens in files without a header: `uint16` or `uint32`.
        tokenizer: the tokenizer that made the tokens (see `make_tokenizer`); that of the folder by default.

    Raises:
        DataError: there are no shards; one is empty, truncated, in both splits, or not the one that dataset.json
            describes; a described shard is a link out of the folder; a token is outside the vocabulary; or the
            tokenizer is not the one that dataset.json describes.
    """
    try:
        paths = find_shards(folder)
        description = read_description(folder)
        if description:
            check_vocabulary(folder, description, vocab)
        shards = _check_shards(folder, paths, description, vocab, dtype, on_progress)
        tokenizer, tokenizer_sha256 = _choose_tokenizer(folder, description, tokenizer)
    except OSError as error:
        raise unreadable(f"folder {folder}", folder, error) from None
    check_held_out(folder, shards)
    name = description.name if description and description.name else folder.name
    return Dataset(
        folder=folder,
        name=name.encode("utf-8", "replace").decode(),  # a folder's name may be any bytes
        vocab=description.vocab if description else vocab,
        fingerprint=_fingerprint(shards),
        tokenizer=tokenizer,
        tokenizer_sha256=tokenizer_sha256,
        train=shards["train"],
        validation=shards["validation"],
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
        for error in compare_names(folder, {path.name for path in every_path}, set(description.shards)):
            raise error
    total, read = sum(path.stat().st_size for path in every_path), 0

    def on_bytes(count: int) -> None:
        nonlocal read
        read += count
        on_progress(f"checking {folder}", read / total)

    return {
        split: tuple(check_shard(path, description, vocab, dtype, on_bytes) for path in paths[split])
        for split in paths
    }


def _choose_tokenizer(folder: Path, description: Description | None, tokenizer: str) -> tuple[str, str]:
    """What the tokenizer is made of, the folder by default, and its hash; both are empty if there is none."""
    if not tokenizer:
        sha256 = hash_tokenizer(folder)
        return (str(folder.absolute()), sha256) if sha256 else ("", "")
    sha256 = make_tokenizer(tokenizer).sha256
    if description and sha256 != description.tokenizer_sha256:
        raise DataError(
            f"is {tokenizer}, which is not the tokenizer that made the shards in {folder}",
            field="tokenizer",
            value=tokenizer,
            remedy="leave `tokenizer` out: the folder has its own",
        )
    return tokenizer, sha256


def _fingerprint(shards: Mapping[str, Sequence[Shard]]) -> str:
    content = {split: [shard.identity for shard in shards[split]] for split in shards}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
