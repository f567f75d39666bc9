"""Support of the tests of preparation: documents, and datasets as the documents that are in them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deepen.data.shards import open_dataset

SEPARATOR = 256
"""The end of text of the byte tokenizer."""


def make_documents(count: int = 60, words: int = 150, seed: int = 0) -> list[str]:
    """Documents of random words; no two share a passage."""
    random = np.random.RandomState(seed)
    return [" ".join(f"word{n}" for n in random.randint(0, 5000, words)) for _ in range(count)]


def write_jsonl(path: Path, documents: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents))
    return path


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset: the content of dataset.json, and the documents in the shards of each split."""

    description: Mapping[str, Any]
    training: list[str]
    held_out: list[str]


def read_prepared(folder: Path, description: Mapping[str, Any]) -> Prepared:
    dataset = open_dataset(folder, description["vocab"])
    splits = []
    for split in ("train", "validation"):
        tokens = dataset.tokens(split).window(0, dataset.count(split)).tolist()
        assert tokens[0] == SEPARATOR
        starts = [*(index for index, token in enumerate(tokens) if token == SEPARATOR), len(tokens)]
        pairs = pairwise(starts)
        splits.append([bytes(tokens[start + 1 : end]).decode() for start, end in pairs])
    return Prepared(description, *splits)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
