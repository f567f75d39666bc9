"""What is to be prepared, and how far it is, as values. Needs no other package."""

from collections.abc import Callable
from dataclasses import dataclass

SHARD_TOKENS = 100_000_000
"""Tokens of a shard, as in the public FineWeb shards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationSettings:
    """What is to be prepared.

    Attributes:
        source: a file or folder, or `hf:NAME[:CONFIG[:SPLIT]]`.
        tokenizer: `gpt2`, `byte`, a path, or `train:VOCAB`.
        text_column: the field or column that holds the text, or the path of a nested one (`meta.text`).
        split_at: the line between two documents of a text file; None if each file is one document.
        separator: the name of the token before each document; "none" for none, None for the tokenizer's end of
            text.
        val_tokens: tokens to hold out for validation; None for one percent, at most 10 million.
        keep_duplicates: whether to train on several copies of a document.
        keep_overlap: whether to train on documents that share a long passage with a held-out one.
        strict: whether a damaged record ends the preparation; otherwise it is left out and counted.
        shard_tokens: tokens of each shard.
        licence: text of the licence; empty to take it from the source.
    """

    source: str
    tokenizer: str = "gpt2"
    text_column: str = "text"
    split_at: str | None = None
    separator: str | None = None
    val_tokens: int | None = None
    keep_duplicates: bool = False
    keep_overlap: bool = False
    strict: bool = False
    shard_tokens: int = SHARD_TOKENS
    licence: str = ""


TOKENIZING = "tokenizing"
"""The part of a preparation that takes longest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparationProgress:
    """How far a preparation is.

    Attributes:
        what: the work, `TOKENIZING` or something shorter.
        share: the share of it that is done; None if it is unknown.
        documents: documents that were tokenized so far, by earlier calls too.
        tokens: their tokens.
    """

    what: str
    share: float | None
    documents: int
    tokens: int


OnProgress = Callable[[PreparationProgress], None]
