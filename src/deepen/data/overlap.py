"""Keeping what is held out apart from what is trained on: duplicates and long passages that both have."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RUN_WORDS = 100
"""A passage of so many words in a row that is both trained on and held out costs the training document its place.

Shorter ones are quotations: presidents quote laws and one another, by up to 70 words in the embedded corpus.
"""

_ODD = 0x9E3779B97F4A7C15
"""Odd, so that it can be divided by modulo 2⁶⁴."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Separated:
    """The training documents that may stay, and how many were dropped and why."""

    kept: list[str]
    duplicates: int
    sharing: int


def separate(training: Sequence[str], held_out: Sequence[str]) -> Separated:
    """Drop the training documents that are held out too, or that share a passage of RUN_WORDS with one that is.

    Words are compared without regard to capitals or spaces.
    """
    known = {_whole(text) for text in held_out}
    runs = np.sort(np.concatenate([np.zeros(0, np.uint64), *(_runs(text) for text in held_out)]))
    kept, duplicates, sharing = [], 0, 0
    for text in training:
        if _whole(text) in known:
            duplicates += 1
        elif _any_in(runs, _runs(text)):
            sharing += 1
        else:
            kept.append(text)
    return Separated(kept=kept, duplicates=duplicates, sharing=sharing)


def _any_in(known: NDArray[np.uint64], asked: NDArray[np.uint64]) -> bool:
    """Whether any of what is asked is among what is known, which is sorted."""
    return bool((np.searchsorted(known, asked, "left") < np.searchsorted(known, asked, "right")).any())


def _whole(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "replace")).digest()


def _runs(text: str) -> NDArray[np.uint64]:
    """A 64-bit hash of every RUN_WORDS words in a row: a polynomial over the hashes of the words."""
    words = text.casefold().split()
    if len(words) < RUN_WORDS:
        return np.zeros(0, np.uint64)
    hashes = {word: int.from_bytes(_digest(word), "little") for word in set(words)}
    values = np.array([hashes[word] for word in words], dtype=np.uint64)
    powers = np.cumprod(np.full(len(words), _ODD, np.uint64))
    inverses = np.cumprod(np.full(len(words), pow(_ODD, -1, 1 << 64), np.uint64))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * powers)])
    runs: NDArray[np.uint64] = (sums[RUN_WORDS:] - sums[:-RUN_WORDS]) * inverses[: len(words) - RUN_WORDS + 1]
    return runs


def _digest(word: str) -> bytes:
    return hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
