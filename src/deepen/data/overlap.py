"""Separate the training set from the validation set: drop duplicates and documents that share long passages.

A passage is PASSAGE_WORDS consecutive words. A training document is dropped if one of its passages also occurs in
a document that is held out:

    held out    "… a b c d e f …"
    training    "x b c d e y"        with passages of 3 words, "b c d" is in both: dropped
    training    "x b c y d e"        no 3 words in a row are in both: kept

Words are compared without case; white space between them does not matter.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PASSAGE_WORDS = 100
"""Shorter passages can be quotations: in the embedded corpus presidents quote laws and one another by up to 70
words."""

_MULTIPLIER = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2⁶⁴."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deduplicated:
    """The training documents that remain, and how many were dropped as duplicates and for shared passages."""

    documents: list[str]
    duplicates: int
    sharing: int


def remove_overlap(training: Sequence[str], held_out: Sequence[str]) -> Deduplicated:
    """Drop the training documents that are also held out, or share a passage with a held-out one."""
    held_out_documents = {_hash_document(text) for text in held_out}
    no_passages = np.zeros(0, np.uint64)
    held_out_passages = np.sort(np.concatenate([no_passages, *(_hash_passages(text) for text in held_out)]))
    documents, duplicates, sharing = [], 0, 0
    for text in training:
        if _hash_document(text) in held_out_documents:
            duplicates += 1
        elif _any_in(_hash_passages(text), held_out_passages):
            sharing += 1
        else:
            documents.append(text)
    return Deduplicated(documents=documents, duplicates=duplicates, sharing=sharing)


def _any_in(values: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> bool:
    """Whether any of the values is in a sorted array."""
    return bool((np.searchsorted(ordered, values, "left") < np.searchsorted(ordered, values, "right")).any())


def _hash_document(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "replace")).digest()


def _hash_passages(text: str) -> NDArray[np.uint64]:
    """A 64-bit hash of every passage: a rolling polynomial over the hashes of its words.

    With word hashes h and multiplier m, the passage that begins at word i has the hash Σ h[i + k] · m^k. It is
    computed as the difference of two prefix sums of h[i] · m^(i + 1), divided by m^(i + 1).
    """
    words = text.casefold().split()
    if len(words) < PASSAGE_WORDS:
        return np.zeros(0, np.uint64)
    hashes = {word: int.from_bytes(_hash_word(word), "little") for word in set(words)}
    values = np.array([hashes[word] for word in words], dtype=np.uint64)
    powers = np.cumprod(np.full(len(words), _MULTIPLIER, np.uint64))
    inverses = np.cumprod(np.full(len(words), pow(_MULTIPLIER, -1, 1 << 64), np.uint64))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * powers)])
    differences = sums[PASSAGE_WORDS:] - sums[:-PASSAGE_WORDS]
    passages: NDArray[np.uint64] = differences * inverses[: len(differences)]
    return passages


def _hash_word(word: str) -> bytes:
    return hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
