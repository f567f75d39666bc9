"""Which documents are trained on, which are held out, and which are dropped.

Documents are held out in the order of their keys, which are hashes of their text, until they have enough tokens.
So the held-out documents are a random sample that depends neither on the order of the source nor on the workers.

    tokens    7  3  5  4  3  6        4 tokens are to be held out
    key       e  a  c  d  a  b        key a, 3 tokens, and key b, 6 tokens, are held out; the second a is dropped
"""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from deepen.data.overlap import HeldOutPassages
from deepen.data.preparation.spool import Spool
from deepen.data.preparation.worker import Encoder
from deepen.data.shards import OnPreparation
from deepen.errors import InvalidValueError

MAX_DEFAULT_TOKENS, DEFAULT_SHARE = 10_000_000, 0.01
"""By default, one percent of the tokens is held out, but no more than this."""

_HASHES_AT_ONCE = 1 << 22


class Fate(IntEnum):
    """What becomes of a document."""

    TRAIN = 0
    VALIDATION = 1
    DUPLICATE = 2
    OVERLAP = 3


def hold_out(documents: NDArray[np.void], val_tokens: int | None, *, keep_duplicates: bool) -> NDArray[np.uint8]:
    """The fate of each document, before it is compared with the held-out ones.

    Args:
        documents: an array of DOCUMENT.
        val_tokens: tokens to hold out, at least; None for the default.
        keep_duplicates: whether to train on several copies of a document. Copies of held-out ones are dropped.

    Raises:
        InvalidValueError: more than half of the tokens would be held out.
    """
    total = int(documents["tokens"].sum())
    wanted = max(1, min(MAX_DEFAULT_TOKENS, int(DEFAULT_SHARE * total))) if val_tokens is None else val_tokens
    order = np.lexsort((documents["key"][:, 1], documents["key"][:, 0]))
    keys = documents["key"][order]
    is_copy = np.concatenate([[False], (keys[1:] == keys[:-1]).all(axis=1)])
    firsts = np.flatnonzero(~is_copy)  # where in `order` each different document is
    tokens = np.cumsum(documents["tokens"][order[firsts]], dtype=np.int64)
    held_out = 1 + int(np.searchsorted(tokens, wanted))
    if len(firsts) == 1:
        raise InvalidValueError(
            "has one document only, and whole documents are held out",
            field="source",
            remedy="divide it into documents (`split_at`), or add others",
        )
    if held_out >= len(firsts) or 2 * int(tokens[held_out - 1]) > total:
        raise InvalidValueError(
            f"is {wanted:,}, for which more than half of the {total:,} tokens would be held out",
            field="val_tokens",
            value=val_tokens,
            remedy=f"hold out less, or add text (there are {len(firsts):,} documents); what is tokenized is kept",
        )
    end = firsts[held_out]  # all before it in `order` are held out, or copies of those
    fates = np.full(len(documents), Fate.TRAIN, np.uint8)
    fates[order[:end]] = np.where(is_copy[:end], Fate.DUPLICATE, Fate.VALIDATION)
    if not keep_duplicates:
        fates[order[is_copy]] = Fate.DUPLICATE
    return fates


def drop_overlap(spool: Spool, encoder: Encoder, fates: NDArray[np.uint8], on_progress: OnPreparation) -> None:
    """Mark the training documents that share a long passage with a held-out one as OVERLAP in `fates`."""
    documents = spool.documents
    ends = np.cumsum(documents["tokens"], dtype=np.int64)

    def read_text(index: int) -> str:
        count = int(documents["tokens"][index]) - (encoder.separator is not None)
        return encoder.tokenizer.decode(spool.read_tokens(int(ends[index]) - count, count).tolist())

    held_out = np.flatnonzero(fates == Fate.VALIDATION)
    passages = HeldOutPassages(read_text(index) for index in held_out.tolist())
    for index in _find_suspects(spool, documents, passages, on_progress):
        if fates[index] == Fate.TRAIN and passages.share_passage(read_text(index)):
            fates[index] = Fate.OVERLAP


def _find_suspects(
    spool: Spool, documents: NDArray[np.void], passages: HeldOutPassages, on_progress: OnPreparation
) -> Iterator[int]:
    """The documents with a block that occurs in a held-out document, in order."""
    ends = np.cumsum(documents["blocks"], dtype=np.int64)
    total, latest = int(ends[-1]), -1
    for start in range(0, total, _HASHES_AT_ONCE):
        on_progress("comparing with the held-out documents", start / total)
        found = start + np.flatnonzero(passages.find_blocks(spool.read_hashes(start, _HASHES_AT_ONCE)))
        for index in np.unique(np.searchsorted(ends, found, side="right")).tolist():
            if index != latest:
                yield index
            latest = index
