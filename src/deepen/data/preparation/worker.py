"""What a worker does: the documents of a block become tokens and hashes."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepen.data.overlap import Hashes, hash_blocks, letters
from deepen.data.preparation.blocks import Block, Document, Problem
from deepen.data.tokenizers import Tokenizer

DOCUMENT = np.dtype([("key", ">u8", (2,)), ("tokens", "<u4"), ("blocks", "<u4")])
"""A document: its key (`make_key`), how many tokens and how many hashed blocks it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """How documents become tokens.

    Attributes:
        tokenizer: the tokenizer.
        separator: the token before each document; None for none.
        dtype: of the tokens, "<u2" or "<u4".
    """

    tokenizer: Tokenizer
    separator: int | None
    dtype: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedBlock:
    """A block's documents, in order.

    Attributes:
        tokens: the tokens of all documents, each with the separator before it.
        documents: an array of DOCUMENT.
        hashes: `hash_blocks` of all documents.
        empty: documents without text, which are left out.
        damaged: records that cannot be used.
        first_problem: the first of them.
        licences: documents by the licence that they name.
    """

    tokens: NDArray[np.unsignedinteger]
    documents: NDArray[np.void]
    hashes: Hashes
    empty: int
    damaged: int
    first_problem: Problem | None
    licences: Counter[str] = field(default_factory=Counter)


def encode_block(encoder: Encoder, block: Block) -> EncodedBlock:
    """The tokens and hashes of a block's documents."""
    texts, keys, hashes, licences = list[str](), list[bytes](), list[Hashes](), Counter[str]()
    problems, empty = list[Problem](), 0
    for record in block.read():
        if isinstance(record, Problem):
            problems.append(record)
        elif not (text := clean(record.text)):
            empty += 1
        elif (normal := _letters(text)) is None:
            problems.append(Problem(record.where, "it has half of a surrogate pair, which is not text"))
        else:
            texts.append(text)
            keys.append(make_key(normal))
            hashes.append(hash_blocks(normal))
            licences[record.licence] += 1
    encoded = _encode(encoder, texts)
    documents = np.zeros(len(texts), DOCUMENT)
    documents["key"] = np.frombuffer(b"".join(keys), ">u8").reshape(-1, 2)
    documents["tokens"] = [len(ids) for ids in encoded]
    documents["blocks"] = [len(each) for each in hashes]
    return EncodedBlock(
        tokens=np.concatenate([np.zeros(0, encoder.dtype), *encoded]),
        documents=documents,
        hashes=np.concatenate([np.zeros(0, np.uint64), *hashes]),
        empty=empty,
        damaged=len(problems),
        first_problem=problems[0] if problems else None,
        licences=licences,
    )


def read_texts(block: Block) -> list[tuple[str, bytes]]:
    """The text and the key of each document of a block."""
    documents = (clean(record.text) for record in block.read() if isinstance(record, Document))
    with_letters = ((text, _letters(text)) for text in documents if text)
    return [(text, make_key(normal)) for text, normal in with_letters if normal is not None]


def make_key(normal: bytes) -> bytes:
    """What identifies a document by its letters: 16 bytes of their sha256."""
    return hashlib.sha256(normal).digest()[:16]


def clean(text: str) -> str:
    """A text without byte-order mark and with Unix line ends; empty if it is white space only."""
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    return "" if text.isspace() else text


def _letters(text: str) -> bytes | None:
    try:
        return letters(text)
    except UnicodeEncodeError:
        return None


def _encode(encoder: Encoder, texts: Sequence[str]) -> list[NDArray[np.unsignedinteger]]:
    """The tokens of each text, with the separator before it."""
    ids = encoder.tokenizer.encode_batch(texts)
    if encoder.separator is None:
        return [each.astype(encoder.dtype) for each in ids]
    separator = np.array([encoder.separator], encoder.dtype)
    return [np.concatenate([separator, each.astype(encoder.dtype)]) for each in ids]
