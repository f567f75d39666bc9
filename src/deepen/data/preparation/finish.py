"""Write the shards of a prepared dataset."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepen import durable
from deepen.data.preparation.splits import Fate
from deepen.data.preparation.spool import Spool
from deepen.data.shard_checks import SPLITS
from deepen.data.shard_formats import make_header
from deepen.data.shards import OnPreparation

SPLIT_FATES = {"train": Fate.TRAIN, "validation": Fate.VALIDATION}
_TOKENS_AT_ONCE = 1 << 22


def write_shards(
    spool: Spool,
    folder: Path,
    name: str,
    fates: NDArray[np.uint8],
    shard_tokens: int,
    on_progress: OnPreparation = lambda what, share: None,
) -> dict[str, str]:
    """Write the documents of both splits, in their order, as shards in llm.c's format.

    Args:
        spool: the tokens of all documents.
        folder: where to write; it exists.
        name: prefix of the shards' names.
        fates: what becomes of each document.
        shard_tokens: tokens of each shard but the last of a split.
        on_progress: receives what is done, and its share that is done.

    Returns:
        The sha256 of each shard, by its name.
    """
    lengths = spool.documents["tokens"].astype(np.int64)
    total, done, shards = int(lengths[np.isin(fates, [*SPLIT_FATES.values()])].sum()), 0, dict[str, str]()
    for split, fate in SPLIT_FATES.items():
        is_kept = fates == fate
        left, chunks = int(lengths[is_kept].sum()), _read_documents(spool, lengths, is_kept)
        rest = np.zeros(0, spool.dtype)
        for number in range(-(-left // shard_tokens)):
            path = folder / f"{name}_{SPLITS[split]}_{number:06d}.bin"
            count = min(shard_tokens, left - number * shard_tokens)
            digest = hashlib.sha256()
            _append(path, make_header(np.dtype(spool.dtype).name, count), digest)
            while count:
                if not len(rest):
                    rest = next(chunks)
                part, rest = rest[:count], rest[count:]
                _append(path, part.tobytes(), digest)
                count -= len(part)
                done += len(part)
                on_progress("writing shards", done / total)
            shards[path.name] = digest.hexdigest()
    return shards


def make_name(folder: Path) -> str:
    """The beginning of the shards' names: the folder's, if it names no split and makes no hidden files."""
    name = re.sub(r"[^\w.-]+", "-", folder.resolve().name).lstrip(".")
    return "tokens" if not name or any(part in name for part in SPLITS.values()) else name


def _append(path: Path, content: bytes, digest: "hashlib._Hash") -> None:
    durable.append(path, content)
    digest.update(content)


def _read_documents(
    spool: Spool, lengths: NDArray[np.int64], is_kept: NDArray[np.bool_]
) -> Iterator[NDArray[np.unsignedinteger]]:
    """The tokens of some documents, in order; documents that follow one another are read at once."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_kept, [False]]).astype(np.int8)))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for first, last in starts[edges].reshape(-1, 2).tolist():
        for start in range(first, last, _TOKENS_AT_ONCE):
            yield spool.read_tokens(start, min(_TOKENS_AT_ONCE, last - start))
