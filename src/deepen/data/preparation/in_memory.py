"""Prepare a dataset from documents in memory: remove overlap, train a tokenizer, write shards."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from deepen.data import cache
from deepen.data.description import FILE
from deepen.data.errors import DataError
from deepen.data.overlap import PASSAGE_WORDS, remove_overlap
from deepen.data.shard_checks import SPLITS
from deepen.data.shard_file import TokenArray, write_shard
from deepen.data.shards import OnPreparation
from deepen.data.tokenizers import Tokenizer, train_bpe
from deepen.durable import write_whole

_BATCH_DOCUMENTS = 16
"""Documents that are encoded at once, on all cores."""

_VERSION = 1
"""Increased when the same documents give other files than before, so that cached ones are not reused."""


def prepare_cached(
    folder: Path,
    name: str,
    vocab: int,
    training: Sequence[str],
    held_out: Sequence[str],
    on_progress: OnPreparation = lambda what, share: None,
) -> None:
    """As `prepare_documents`, but only once: later calls with the same documents copy its files from the cache."""
    depends_on = {
        "version": _VERSION,
        "tokenizers": tokenizers.__version__,
        "name": name,
        "vocab": vocab,
        "training": list(training),
        "held_out": list(held_out),
    }
    digest = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()
    entry = f"{name}-{vocab}-{digest[:16]}"
    if not cache.fetch(entry, folder):
        files = prepare_documents(folder, name, vocab, training, held_out, on_progress)
        cache.store(entry, folder, files)


def prepare_documents(
    folder: Path,
    name: str,
    vocab: int,
    training: Sequence[str],
    held_out: Sequence[str],
    on_progress: OnPreparation = lambda what, share: None,
) -> list[str]:
    """Write a dataset of documents, tokenized with a BPE of `vocab` tokens trained on the training split.

    Training documents that are also held out, or share a long passage with a held-out one, are dropped.
    dataset.json records how many.

    Args:
        folder: where to write.
        name: as `write_dataset`.
        vocab: tokens of the BPE.
        training: the documents to train on.
        held_out: those of the validation split.
        on_progress: receives what is done, and its share that is done.

    Returns:
        The names of the files, in the order in which they were written.

    Raises:
        DataError: no document remains to train on, or none is held out.
    """
    on_progress(f"comparing the documents of {name}", None)
    remaining = remove_overlap(training, held_out)
    if not remaining.documents or not held_out:
        raise DataError(
            f"{name}: no document is left to train on, or none is held out", field="data", remedy="add documents"
        )
    on_progress(f"training a tokenizer on {name}", None)
    tokenizer = train_bpe(remaining.documents, vocab)
    total, done = len(remaining.documents) + len(held_out), 0

    def on_encoded(count: int) -> None:
        nonlocal done
        done += count
        on_progress(f"tokenizing {name}", done / total)

    splits = {
        "train": encode_documents(tokenizer, remaining.documents, on_encoded),
        "validation": encode_documents(tokenizer, held_out, on_encoded),
    }
    counts = {
        "documents": {"train": len(remaining.documents), "validation": len(held_out)},
        "dropped": {"duplicates": remaining.duplicates, f"sharing {PASSAGE_WORDS} words": remaining.sharing},
    }
    return write_dataset(folder, name, vocab, tokenizer.to_json(), splits, counts)


def encode_documents(
    tokenizer: Tokenizer, texts: Sequence[str], on_encoded: Callable[[int], None] = lambda count: None
) -> TokenArray:
    """The tokens of all documents in order, as uint16, with an end of text before each.

    Args:
        tokenizer: a tokenizer with an end of text.
        texts: the documents.
        on_encoded: called with the number of documents that were encoded since the last call.
    """
    end_of_text = np.array([tokenizer.end_of_text], dtype=np.uint16)
    parts = []
    for first in range(0, len(texts), _BATCH_DOCUMENTS):
        batch = list(texts[first : first + _BATCH_DOCUMENTS])
        for ids in tokenizer.encode_batch(batch):
            parts += [end_of_text, ids.astype(np.uint16)]
        on_encoded(len(batch))
    return np.concatenate(parts)


def write_dataset(
    folder: Path,
    name: str,
    vocab: int,
    tokenizer: str,
    splits: Mapping[str, TokenArray],
    notes: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write shards, the tokenizer's JSON and, last, dataset.json. Each file is written completely or not at all.

    Args:
        folder: where to write; created if needed.
        name: prefix of the shards' names; must not contain `train` or `val`.
        vocab: tokens of the tokenizer.
        tokenizer: the JSON text of a `tokenizers` tokenizer.
        splits: tokens by split, `train` and `validation`.
        notes: further content of dataset.json, such as how many documents were dropped.

    Returns:
        The names of the files, in the order in which they were written.

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
    return ["tokenizer.json", *shards, FILE]


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
