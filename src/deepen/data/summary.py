"""Describe a folder of shards without reading all of it: counts, lengths of documents, a decoded sample.

Counts of tokens come from headers and sizes. Documents are found by the token that separates them, in all tokens
of a small dataset, or in 32 blocks of 2²⁰ tokens that are spread over a large one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepen.data.description import Description, read_description
from deepen.data.errors import unreadable
from deepen.data.preparation.tokenizer import find_separator
from deepen.data.shard_checks import find_shards
from deepen.data.shard_file import TokenFile
from deepen.data.shard_formats import read_layout
from deepen.data.shards import Tokens
from deepen.data.tokenizers import Tokenizer, make_folder_tokenizer

_BLOCK_TOKENS = 1 << 20
_MAX_BLOCKS = 32
_SAMPLE_TOKENS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentLengths:
    """Tokens per document, without separators.

    Attributes:
        documents: the number of documents of the split; an estimate unless `exact`.
        exact: whether all tokens were read.
        tenth, median, ninetieth, longest: percentiles of the lengths, and the longest one that was read.
    """

    documents: int
    exact: bool
    tenth: int
    median: int
    ninetieth: int
    longest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSummary:
    """What is in a split.

    Attributes:
        formats: format and type of its shards, such as `llm.c uint16`.
        lengths: tokens per document; None if the separator is unknown or does not occur.
        sample: the beginning of a document in its middle; empty if there is no tokenizer.
    """

    tokens: int
    shards: int
    bytes: int
    formats: tuple[str, ...]
    lengths: DocumentLengths | None
    sample: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What is in a folder of shards."""

    splits: Mapping[str, SplitSummary]
    description: Description | None
    tokenizer: Tokenizer | None


def summarize_dataset(folder: Path, *, dtype: str | None = None, tokenizer: str = "") -> Summary:
    """Describe a folder of shards.

    Args:
        folder: the folder.
        dtype, tokenizer: as for `open_dataset`.

    Raises:
        DataError: it is not a folder of shards, or a shard, dataset.json or the tokenizer cannot be read.
    """
    try:
        paths = find_shards(folder)
        description = read_description(folder)
        found = make_folder_tokenizer(folder, tokenizer)
        separator = _find_separator(description, found)
        files = {
            split: [TokenFile(path=path, layout=read_layout(path, dtype)) for path in split_paths]
            for split, split_paths in paths.items()
        }
        splits = {split: _summarize(shards, found, separator) for split, shards in files.items()}
    except OSError as error:
        raise unreadable(f"folder {folder}", folder, error) from None
    return Summary(splits=splits, description=description, tokenizer=found)


def _find_separator(description: Description | None, tokenizer: Tokenizer | None) -> int | None:
    """The token between documents: what dataset.json records, or the tokenizer's end of text."""
    if tokenizer is None:
        return None
    settings: Any = description.notes.get("preparation") if description else None
    name = settings.get("separator") if isinstance(settings, dict) else None
    return find_separator(tokenizer, name) if isinstance(name, str) else tokenizer.end_of_text


def _summarize(files: Sequence[TokenFile], tokenizer: Tokenizer | None, separator: int | None) -> SplitSummary:
    tokens = Tokens(files)
    return SplitSummary(
        tokens=len(tokens),
        shards=len(files),
        bytes=sum(file.layout.file_bytes for file in files),
        formats=tuple(sorted({f"{file.layout.format} {file.layout.dtype}" for file in files})),
        lengths=None if separator is None else _measure_documents(tokens, separator),
        sample="" if tokenizer is None else _decode_sample(tokens, tokenizer, separator),
    )


def _measure_documents(tokens: Tokens, separator: int) -> DocumentLengths | None:
    blocks = -(-len(tokens) // _BLOCK_TOKENS)
    exact = blocks <= _MAX_BLOCKS
    chosen = range(blocks) if exact else np.linspace(0, blocks - 2, _MAX_BLOCKS).round().astype(int).tolist()
    ends, seen, read = list[NDArray[np.int64]](), 0, 0
    for block in chosen:
        start = block * _BLOCK_TOKENS
        window = tokens.window(start, min(_BLOCK_TOKENS, len(tokens) - start))
        found = np.flatnonzero(window == separator) + start
        ends.append(found)
        seen, read = seen + len(found), read + len(window)
    if not seen:
        return None
    edges = [np.concatenate([[-1], *ends, [len(tokens)]])] if exact else ends
    lengths = np.concatenate([np.diff(each) - 1 for each in edges])
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return None
    tenth, median, ninetieth = np.percentile(lengths, [10, 50, 90]).round().astype(int).tolist()
    return DocumentLengths(
        documents=len(lengths) if exact else round(seen * len(tokens) / read),
        exact=exact,
        tenth=tenth,
        median=median,
        ninetieth=ninetieth,
        longest=int(lengths.max()),
    )


def _decode_sample(tokens: Tokens, tokenizer: Tokenizer, separator: int | None) -> str:
    """The first tokens of the document that begins after the middle, in one line that can be printed."""
    middle = len(tokens) // 2
    window = tokens.window(middle, min(_BLOCK_TOKENS, len(tokens) - middle))
    starts = np.flatnonzero(window == separator) + 1 if separator is not None else np.zeros(0, np.int64)
    start = int(starts[0]) if len(starts) and starts[0] < len(window) else 0
    ids = window[start : start + _SAMPLE_TOKENS].tolist()
    if separator in ids:
        ids = ids[: ids.index(separator)]
    text = " ".join(tokenizer.decode(ids).split())
    return "".join(letter for letter in text if letter.isprintable())
