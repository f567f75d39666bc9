"""Prepare a dataset from documents: remove overlap, train a tokenizer, write shards."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepen.data.description import FILE
from deepen.data.errors import DataError
from deepen.data.overlap import PASSAGE_WORDS, remove_overlap
from deepen.data.shard_file import TokenArray, write_shard
from deepen.data.shards import SPLITS
from deepen.data.tokenizers import encode_documents, train_bpe
from deepen.durable import write_whole


def prepare_documents(
    folder: Path, name: str, vocab: int, training: Sequence[str], held_out: Sequence[str]
) -> None:
    """Write a dataset of documents, tokenized with a BPE of `vocab` tokens trained on the training split.

    Training documents that are also held out, or share a long passage with a held-out one, are dropped.
    dataset.json records how many.

    Raises:
        DataError: no document remains to train on, or none is held out.
    """
    remaining = remove_overlap(training, held_out)
    if not remaining.documents or not held_out:
        raise DataError(
            f"{name}: no document is left to train on, or none is held out", field="data", remedy="add documents"
        )
    tokenizer = train_bpe(remaining.documents, vocab)
    splits = {
        "train": encode_documents(tokenizer, remaining.documents),
        "validation": encode_documents(tokenizer, held_out),
    }
    counts = {
        "documents": {"train": len(remaining.documents), "validation": len(held_out)},
        "dropped": {"duplicates": remaining.duplicates, f"sharing {PASSAGE_WORDS} words": remaining.sharing},
    }
    write_dataset(folder, name, vocab, tokenizer.to_str(), splits, counts)


def write_dataset(
    folder: Path,
    name: str,
    vocab: int,
    tokenizer: str,
    splits: Mapping[str, TokenArray],
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write shards, the tokenizer's JSON and, last, dataset.json. Each file is written completely or not at all.

    Args:
        folder: where to write; created if needed.
        name: prefix of the shards' names; must not contain `train` or `val`.
        vocab: tokens of the tokenizer.
        tokenizer: the JSON text of a `tokenizers` tokenizer.
        splits: tokens by split, `train` and `validation`.
        notes: further content of dataset.json, such as how many documents were dropped.

    Raises:
        DataError: a split is missing or empty, equals the other, or has tokens outside the vocabulary.
    """
    _check(name, vocab, splits)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "tokenizer.json", tokenizer.encode())
    shards = {}
    for split, part in SPLITS.items():
        path = folder / f"{name}_{part}_000000.bin"
        shards[path.name] = write_shard(path, splits[split])
    description = {
        "name": name,
        "vocab": vocab,
        "tokenizer_sha256": hashlib.sha256(tokenizer.encode()).hexdigest(),
        "shards": shards,
        **(notes or {}),
    }
    write_whole(folder / FILE, json.dumps(description, indent=2).encode())


def _check(name: str, vocab: int, splits: Mapping[str, TokenArray]) -> None:
    if not name or Path(name).name != name or "train" in name or "val" in name:
        raise DataError(
            f"is {name!r}, which cannot be the beginning of shard names",
            field="name",
            value=name,
            remedy="leave out /, train and val",
        )
    for split in SPLITS:
        if split not in splits or not len(splits[split]):
            raise DataError(f"dataset {name} has no {split} tokens", remedy="add documents")
        highest = int(splits[split].max())
        if highest >= vocab:
            raise DataError(f"dataset {name} has token {highest} in {split}, its vocabulary ends at {vocab - 1}")
    if np.array_equal(splits["train"], splits["validation"]):
        raise DataError(f"dataset {name} has the same tokens in train and validation", remedy="hold documents out")
