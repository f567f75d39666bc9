"""Text files: each is a document, or several that are separated by a line."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepen.data.preparation.blocks import BLOCK_BYTES, Block, Document, Problem
from deepen.data.preparation.sources.compressed import DamagedFileError, read_chunks
from deepen.data.preparation.sources.json_lines import divide_lines

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Files that a worker reads, each of them a document."""

    paths: tuple[str, ...]

    def read(self) -> Iterator[Document | Problem]:
        """The documents of the files."""
        for path in self.paths:
            try:
                content = b"".join(read_chunks(Path(path)))
                yield Document(content.removeprefix(_BOM).decode(), path)
            except DamagedFileError as error:
                yield Problem(path, str(error))
            except UnicodeDecodeError as error:
                yield Problem(path, f"it is not UTF-8 (byte {error.start:,})")


@dataclass(frozen=True, kw_only=True, slots=True)
class SeparatedText:
    """Documents of a file, read already.

    Attributes:
        path: the file, for messages.
        first: the number of the first document, counted from 1.
        documents: the lines of each document.
        problem: why the file cannot be read beyond these documents; empty if it can.
    """

    path: str
    first: int
    documents: tuple[bytes, ...]
    problem: str = ""

    def read(self) -> Iterator[Document | Problem]:
        """The documents."""
        for number, document in enumerate(self.documents, self.first):
            where = f"{self.path}, document {number:,}"
            try:
                yield Document(document.strip(b"\r\n").decode(), where)
            except UnicodeDecodeError:
                yield Problem(where, "it is not UTF-8")
        if self.problem:
            yield Problem(self.path, self.problem)


def group_files(files: Sequence[Path], sizes: Sequence[int]) -> Iterator[tuple[Path, ...]]:
    """Neighbouring files in groups of about a block."""
    group, size = list[Path](), 0
    for file, file_size in zip(files, sizes, strict=True):
        if group and size + file_size > BLOCK_BYTES:
            yield tuple(group)
            group, size = [], 0
        group.append(file)
        size += file_size
    if group:
        yield tuple(group)


def divide_file(path: Path, separator: str, on_read: Callable[[int], None]) -> Iterator[Block]:
    """The blocks of a text file whose documents are separated by lines that hold `separator` and nothing else."""
    line = re.compile(rb"^[ \t]*" + re.escape(separator.encode()) + rb"[ \t\r]*(?:\n|\Z)", re.MULTILINE)
    parts, first = list[bytes](), 1  # parts of the document that is not complete yet
    for lines, _, problem in divide_lines(path, on_read):
        *documents, rest = line.split(lines)
        if documents:
            documents[0] = b"".join([*parts, documents[0]])
            parts = []
        parts.append(rest)
        yield SeparatedText(path=str(path), first=first, documents=tuple(documents), problem=problem)
        first += len(documents)
    yield SeparatedText(path=str(path), first=first, documents=(b"".join(parts),))
