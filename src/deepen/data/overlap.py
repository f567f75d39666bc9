"""Separate the training set from the validation set: drop duplicates and documents that share long passages.

A passage is PASSAGE_WORDS consecutive words. A training document is dropped if one of its passages also occurs in
a document that is held out:

    held out    "… a b c d e f …"
    training    "x b c d e y"        with passages of 3 words, "b c d" is in both: dropped
    training    "x b c y d e"        no 3 words in a row are in both: kept

Words are compared without case; white space between them does not matter.

`remove_overlap` does this for documents in memory. For a corpus of any size, each training document is reduced to
a few hashes when it is tokenized (`hash_blocks`), one for every 128 letters. A document can share a passage only
if one of these blocks occurs in a held-out document, at any letter (`hash_windows`):

    held out    every window     abc bcd cde def
    training    every block      xbc dey             with blocks of 3 letters

So only few documents must be compared word by word. The letters are the UTF-8 bytes of a text without ASCII white
space, in ASCII lower case. A passage is always found if it has at least 255 letters, which 100 words practically
always have. (Two thresholds, one below which nothing is found and one above which everything is, as in
Schleimer, Wilkerson & Aiken, "Winnowing", SIGMOD 2003, section 3.)
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PASSAGE_WORDS = 100
"""Shorter passages can be quotations: in the embedded corpus presidents quote laws and one another by up to 70
words."""

BLOCK_LETTERS = 128
"""Letters of a block that is hashed for `hash_blocks` and `hash_windows`; a multiple of 8."""

_MULTIPLIER = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2⁶⁴."""

_POWERS = np.cumprod(np.full(BLOCK_LETTERS // 8, _MULTIPLIER, np.uint64))
_LOWER_CASE = bytes(range(256)).lower()
_WHITE_SPACE = b" \t\n\r\v\f"

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Deduplicated:
    """The training documents that remain, and how many were dropped as duplicates and for shared passages."""

    documents: list[str]
    duplicates: int
    sharing: int


def remove_overlap(training: Sequence[str], held_out: Sequence[str]) -> Deduplicated:
    """Drop the training documents that are also held out, or share a passage with a held-out one."""
    held_out_documents = {_hash_document(text) for text in held_out}
    passages = HeldOutPassages(held_out)
    documents, duplicates, sharing = [], 0, 0
    for text in training:
        if _hash_document(text) in held_out_documents:
            duplicates += 1
        elif passages.share_passage(text):
            sharing += 1
        else:
            documents.append(text)
    return Deduplicated(documents=documents, duplicates=duplicates, sharing=sharing)


def letters(text: str) -> bytes:
    """The letters of a text: documents with the same letters count as duplicates.

    Raises:
        UnicodeEncodeError: the text has half of a surrogate pair, which no encoding can represent.
    """
    return text.encode().translate(_LOWER_CASE, _WHITE_SPACE)


def hash_blocks(text: bytes) -> Hashes:
    """A hash of each block of BLOCK_LETTERS letters, from the first on; the rest is left out."""
    blocks = len(text) // BLOCK_LETTERS
    words = np.frombuffer(text, "<u8", count=blocks * len(_POWERS)).reshape(blocks, len(_POWERS))
    hashes: Hashes = (words * _POWERS).sum(axis=1, dtype=np.uint64)
    return hashes


def hash_windows(text: bytes) -> Hashes:
    """A hash of BLOCK_LETTERS letters from each letter on: that of `hash_blocks` where a block begins there."""
    windows = np.zeros(max(0, len(text) - BLOCK_LETTERS + 1), np.uint64)
    for offset in range(min(8, len(windows))):
        words = np.frombuffer(text, "<u8", count=(len(text) - offset) // 8, offset=offset)
        sums = windows[offset::8]
        for index, power in enumerate(_POWERS):
            sums += words[index : index + len(sums)] * power
    return windows


class HeldOutPassages:
    """The passages of held-out documents, for comparison with any number of training documents.

    Args:
        texts: the held-out documents.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        windows, passages = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
        for text in texts:
            windows.append(hash_windows(letters(text)))
            passages.append(_hash_passages(text))
        self._windows, self._passages = np.concatenate(windows), np.concatenate(passages)
        self._windows.sort()
        self._passages.sort()

    def find_blocks(self, blocks: Hashes) -> NDArray[np.bool_]:
        """Which of the hashes of `hash_blocks` occur in a held-out document."""
        return _are_in(blocks, self._windows)

    def share_passage(self, text: str) -> bool:
        """Whether a passage of a text occurs in a held-out document."""
        return bool(_are_in(_hash_passages(text), self._passages).any())


def _are_in(values: Hashes, ordered: Hashes) -> NDArray[np.bool_]:
    """Which of the values are in a sorted array."""
    found = np.zeros(len(values), np.bool_)
    if len(ordered):
        order = np.argsort(values)  # many times faster: neighbouring values are near one another in memory
        places = np.searchsorted(ordered, values[order])
        found[order] = ordered[np.minimum(places, len(ordered) - 1)] == values[order]
    return found


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
