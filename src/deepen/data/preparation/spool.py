"""What an unfinished preparation has done: the tokens and hashes of all documents so far, on disk.

    DIR.unfinished/tokens          the tokens of the documents, in the order of the source
    DIR.unfinished/documents       a record for each document
    DIR.unfinished/hashes          the hashes of their blocks
    DIR.unfinished/progress.json   how much of the three is durable, and where to read the source on
    DIR.unfinished/tokenizer.json

After a kill or a power cut the files are cut to what progress.json records, and the source is read from there.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepen import durable
from deepen.data.preparation.blocks import Position
from deepen.data.preparation.worker import DOCUMENT, EncodedBlock
from deepen.errors import RunError

SAVE_EVERY_SECONDS = 3.0
_PROGRESS = "progress.json"
_FILES = ("tokens", "documents", "hashes")
_MAX_LICENCES = 100


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far the source is read.

    Attributes:
        request: what the files depend on; only the same request may continue with them.
        after: where to read on.
        share: of the source that is read; None if it is unknown.
        is_read: whether all of it is.
        documents: documents that were encoded.
        tokens: tokens of these, separators included.
        empty: documents without text, left out.
        damaged: records that could not be used.
        first_problem: the first of them, as text.
        licences: documents by the licence that they name.
        sizes: bytes of each file.
    """

    request: Mapping[str, Any]
    after: Position = field(default_factory=dict)
    share: float | None = 0.0
    is_read: bool = False
    documents: int = 0
    tokens: int = 0
    empty: int = 0
    damaged: int = 0
    first_problem: str = ""
    licences: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FILES, 0))


class Spool:
    """The files of an unfinished preparation; they continue where `progress` is.

    Args:
        folder: the folder of the files; created if needed.
        request: what they depend on, as JSON.
        dtype: of the tokens.
        save_every: seconds between two times at which progress becomes durable.
    """

    def __init__(
        self, folder: Path, request: Mapping[str, Any], dtype: str, save_every: float = SAVE_EVERY_SECONDS
    ) -> None:
        self.folder, self.dtype, self._save_every = folder, dtype, save_every
        self.progress = read_progress(folder) or Progress(request=request)
        self._saved_at = time.monotonic()
        for name, size in self.progress.sizes.items():
            (folder / name).touch()
            if (folder / name).stat().st_size < size:
                raise RunError(
                    f"{folder / name} is shorter than it was", remedy=f"remove {folder} and begin again"
                )
            os.truncate(folder / name, size)

    def add(self, encoded: EncodedBlock, after: Position, share: float | None) -> None:
        """Append a block, and record where to read on after it."""
        arrays = (encoded.tokens, encoded.documents, encoded.hashes)
        for name, array in zip(_FILES, arrays, strict=True):
            durable.append(self.folder / name, array.tobytes())
            self.progress.sizes[name] += array.nbytes
        progress = self.progress
        progress.after, progress.share = after, share
        progress.documents += len(encoded.documents)
        progress.tokens += len(encoded.tokens)
        progress.empty += encoded.empty
        progress.damaged += encoded.damaged
        progress.first_problem = progress.first_problem or str(encoded.first_problem or "")
        counts = Counter(progress.licences) + encoded.licences
        progress.licences = dict(counts.most_common(_MAX_LICENCES))
        if time.monotonic() - self._saved_at >= self._save_every:
            self.save()

    def save(self) -> None:
        """Make everything so far durable."""
        for name in _FILES:
            durable.fsync(self.folder / name)
        progress = {name: getattr(self.progress, name) for name in Progress.__slots__}
        durable.write_json(self.folder / _PROGRESS, progress)
        self._saved_at = time.monotonic()

    def estimate_space(self) -> int:
        """Bytes that the rest of the source and the shards will take; 0 if no share is known yet."""
        sizes, share = self.progress.sizes, self.progress.share
        return int((sum(sizes.values()) + sizes["tokens"]) / share) - sum(sizes.values()) if share else 0

    @property
    def documents(self) -> NDArray[np.void]:
        """The record of each document."""
        return np.fromfile(self.folder / "documents", DOCUMENT)

    def read_tokens(self, start: int, count: int) -> NDArray[np.unsignedinteger]:
        """Some of the tokens."""
        size = np.dtype(self.dtype).itemsize
        tokens: NDArray[np.unsignedinteger] = np.fromfile(
            self.folder / "tokens", self.dtype, count=count, offset=start * size
        )
        return tokens

    def read_hashes(self, start: int, count: int) -> NDArray[np.uint64]:
        """Some of the hashes of blocks."""
        return np.fromfile(self.folder / "hashes", np.uint64, count=count, offset=8 * start)


def read_progress(folder: Path) -> Progress | None:
    """How far the preparation in a folder is; None if it has not begun.

    Raises:
        RunError: the file is damaged.
    """
    try:
        content = durable.read_json(folder / _PROGRESS)
        return None if content is None else Progress(**content)
    except (durable.DamagedError, TypeError):
        problem = f"{folder / _PROGRESS} is damaged"
        raise RunError(problem, remedy=f"remove {folder}, and begin again") from None


def has_begun(folder: Path) -> bool:
    """Whether any document was encoded durably."""
    documents = folder / "documents"
    return (folder / _PROGRESS).exists() and documents.exists() and documents.stat().st_size > 0
