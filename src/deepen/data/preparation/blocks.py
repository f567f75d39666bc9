"""What sources are divided into: blocks of records, each read by one worker."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

BLOCK_BYTES = 2 << 20
"""About how much text a block holds. A document is never divided."""

Position = Mapping[str, Any]
"""Where a source is to be read on: JSON that only the source understands; empty for its beginning."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text, where it is ("a.jsonl, line 7"), and the licence that its record names."""

    text: str
    where: str
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that cannot be used: where it is, and why."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Block(Protocol):
    """Records that a worker reads. Blocks are sent to other processes."""

    def read(self) -> Iterator[Document | Problem]:
        """The documents of the block, in order, and the records that cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A block, where to read on after it, and the share of the source that is then read (None if unknown)."""

    block: Block
    after: Position
    share: float | None


class Source(Protocol):
    """Text to prepare.

    Attributes:
        identity: changes when the source does, so that an interrupted preparation does not continue with another.
        description: for dataset.json: where the text comes from.
        licence: text of its licence, as far as the source itself knows it.
    """

    identity: str
    description: Mapping[str, Any]
    licence: str

    def blocks(self, start: Position) -> Iterator[Placed]:
        """The blocks from a position on; each time the same ones, in the same order."""
        ...
