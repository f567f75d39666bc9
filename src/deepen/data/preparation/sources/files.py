"""Files and folders as a source."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepen.data.preparation.blocks import Block, Placed, Position
from deepen.data.preparation.sources import json_lines, parquet, text_files
from deepen.data.preparation.sources.compressed import suffix
from deepen.errors import InvalidValueError

JSON_LINES, PARQUET, TEXT = (".jsonl", ".ndjson", ".json"), (".parquet",), (".txt", ".text", ".md")
_LICENCE_NAMES = ("LICENSE", "LICENCE", "COPYING")
_ABOUT_THE_SOURCE = ("README", *_LICENCE_NAMES)
_MAX_LICENCE_BYTES = 1 << 20


class FileSource:
    """The files of a folder in the order of their paths, or one file.

    In a folder with Parquet or JSONL, other files are not read; in any other folder, text files are documents.

    Args:
        path: the file or folder.
        column: the field or column that holds the text, or the path of a nested one (`meta.text`).
        separator: the line between two documents of a text file; None if each file is one document.

    Raises:
        InvalidValueError: there is nothing to read, or no such column.
    """

    def __init__(self, path: Path, column: str, separator: str | None = None) -> None:
        self._column, self._separator = column, separator
        files = _find_files(path)
        if separator is not None and not any(_is_text(file) for file in files):
            raise InvalidValueError(
                f"divides text files, and {path} has none",
                field="split_at",
                value=separator,
                remedy="leave it out",
            )
        self._sizes = {file: file.stat().st_size for file in files}
        self._groups = _group(files, self._sizes, separator)
        stamps = [(str(file.relative_to(path)), self._sizes[file], file.stat().st_mtime_ns) for file in files]
        self.identity = hashlib.sha256(repr((stamps, column, separator)).encode()).hexdigest()
        self.description: Mapping[str, Any] = {
            "path": str(path),
            "files": len(files),
            "bytes": sum(self._sizes.values()),
        }
        self.licence = _find_licence(path)
        for file in files:
            if suffix(file) in PARQUET:
                parquet.check_column(file, column)
        for file in [file for file in files if suffix(file) in JSON_LINES][:1]:
            json_lines.check_column(file, column)

    def blocks(self, start: Position) -> Iterator[Placed]:
        """The blocks from a position on."""
        first_group, first_block = start.get("group", 0), start.get("block", 0)
        total = max(1, sum(self._sizes.values()))
        before = sum(self._sizes[file] for group in self._groups[:first_group] for file in group)
        for index, group in enumerate(self._groups[first_group:], first_group):
            read, size = 0.0, sum(self._sizes[file] for file in group)

            def on_read(position: float) -> None:
                nonlocal read
                read = position

            for number, block in enumerate(self._divide(group, on_read), 1):
                if index > first_group or number > first_block:
                    yield Placed(block, {"group": index, "block": number}, min(1.0, (before + read) / total))
            before += size

    def _divide(self, group: Sequence[Path], on_read: Callable[[float], None]) -> Iterator[Block]:
        file, size = group[0], self._sizes[group[0]]
        if suffix(file) in PARQUET:
            return parquet.divide_file(file, self._column, lambda share: on_read(share * size))
        if suffix(file) in JSON_LINES:
            return json_lines.divide_file(file, self._column, on_read)
        if self._separator is not None:
            return text_files.divide_file(file, self._separator, on_read)
        on_read(sum(self._sizes[each] for each in group))
        return iter([text_files.TextFiles(tuple(map(str, group)))])


def _group(files: Sequence[Path], sizes: Mapping[Path, int], separator: str | None) -> Sequence[tuple[Path, ...]]:
    """The files in the order in which they are read, small text files together."""
    if separator is not None or not any(_is_text(file) for file in files):
        return [(file,) for file in files]
    return [*text_files.group_files(files, [sizes[file] for file in files])]


def _is_text(file: Path) -> bool:
    return suffix(file) not in JSON_LINES + PARQUET


def _find_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidValueError(
            f"{path} does not exist",
            field="source",
            value=path,
            remedy="name a file, a folder, or a dataset of the Hub (hf:NAME:CONFIG)",
        )
    visible = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and file.stem.upper() not in _ABOUT_THE_SOURCE
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    for kinds in (JSON_LINES[:2] + PARQUET, TEXT):
        if files := [file for file in visible if suffix(file) in kinds]:
            return files
    raise InvalidValueError(
        f"{path} has no file to read",
        field="source",
        value=path,
        remedy=f"it must have files named {', '.join('*' + kind for kind in (*JSON_LINES[:2], *PARQUET, *TEXT))}, "
        "the text ones also with .gz or .zst",
    )


def _find_licence(path: Path) -> str:
    """The text of a licence file in the source's folder; empty if there is none."""
    folder = path if path.is_dir() else path.parent
    for file in sorted(folder.iterdir()):
        if file.stem.upper() in _LICENCE_NAMES and file.is_file() and file.stat().st_size <= _MAX_LICENCE_BYTES:
            return file.read_text(encoding="utf-8", errors="replace")
    return ""
