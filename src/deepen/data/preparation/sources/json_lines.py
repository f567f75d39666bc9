"""JSONL: one JSON object per line, with the text in one of its fields."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen.data.preparation.blocks import BLOCK_BYTES, Block, Document, Problem
from deepen.data.preparation.sources.compressed import DamagedFileError, read_chunks
from deepen.errors import InvalidValueError, join_or

_BOM = b"\xef\xbb\xbf"
_LICENCE_FIELDS = ("license", "licence")
_MISSING = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonLines:
    """Whole lines of a file.

    Attributes:
        path: the file, for messages.
        first: the number of the first line, counted from 1.
        column: the field that holds the text, or the path of a nested one (`meta.text`).
        problem: why the file cannot be read beyond these lines; empty if it can.
    """

    path: str
    lines: bytes
    first: int
    column: str
    problem: str = ""

    def read(self) -> Iterator[Document | Problem]:
        """The documents in the lines; blank lines are skipped."""
        for number, line in enumerate(self.lines.split(b"\n"), self.first):
            if line and not line.isspace():
                yield _read_line(line, self.column, f"{self.path}, line {number:,}")
        if self.problem:
            yield Problem(self.path, self.problem)


def _read_line(line: bytes, column: str, where: str) -> Document | Problem:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError:
        return Problem(where, "it is not UTF-8")
    except (ValueError, RecursionError):
        return Problem(where, "it is not JSON")
    if not isinstance(record, dict):
        return Problem(where, "it is not a JSON object")
    text = _find(record, column)
    if text is None:
        text = ""
    if not isinstance(text, str):
        return Problem(where, f"it has no {column!r}" if text is _MISSING else f"its {column!r} is not text")
    licence = next((record[name] for name in _LICENCE_FIELDS if isinstance(record.get(name), str)), "")
    return Document(text, where, licence)


def _find(record: Mapping[str, Any], column: str) -> Any:
    """The value of a field of that name, or else at that path; within null there is null."""
    if column in record:
        return record[column]
    value: Any = record
    for name in column.split("."):
        if value is None:
            return None
        if not isinstance(value, dict) or name not in value:
            return _MISSING
        value = value[name]
    return value


def _name_texts(record: Mapping[str, Any]) -> list[str]:
    """The fields of a record that hold text, nested ones by their path."""
    names, waiting = list[str](), [*record.items()][::-1]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{name}.{inner}", each) for inner, each in [*value.items()][::-1]]
        elif isinstance(_find(record, name), str):
            names.append(name)
    return names


def divide_lines(path: Path, on_read: Callable[[int], None]) -> Iterator[tuple[bytes, int, str]]:
    """Whole lines, about a block at a time: with the number of the first line, and what is wrong with the file."""
    parts, size, number, problem = list[bytes](), 0, 1, ""
    chunks = read_chunks(path, on_read)
    try:
        for chunk in chunks:
            if number == 1 and not parts:
                chunk = chunk.removeprefix(_BOM)
            end = chunk.rfind(b"\n") + 1
            if size + end < BLOCK_BYTES or not end:
                parts.append(chunk)
                size += len(chunk)
                continue
            lines = b"".join([*parts, chunk[:end]])
            yield lines, number, ""
            number += lines.count(b"\n")
            parts, size = [chunk[end:]], len(chunk) - end
    except DamagedFileError as error:
        problem = str(error)
    rest = b"".join(parts)
    if problem:
        rest = rest[: rest.rfind(b"\n") + 1]  # the last line may be a part of one
    yield rest, number, problem


def divide_file(path: Path, column: str, on_read: Callable[[int], None]) -> Iterator[Block]:
    """The blocks of a JSONL file."""
    for lines, number, problem in divide_lines(path, on_read):
        yield JsonLines(path=str(path), lines=lines, first=number, column=column, problem=problem)


def check_column(path: Path, column: str) -> None:
    """Raise an InvalidValueError if the first object of a file has no such text. Damage is found later."""
    lines = next(divide_lines(path, lambda position: None))[0]
    first = next((line for line in lines.split(b"\n") if line and not line.isspace()), b"")
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        record = None
    if first.lstrip().startswith(b"["):
        raise InvalidValueError(
            f"{path} holds a JSON array, not an object on each line",
            field="source",
            value=path,
            remedy="convert it (jq -c '.[]' FILE)",
        )
    if not isinstance(record, dict):
        return
    value = _find(record, column)
    if value is _MISSING or isinstance(value, dict):
        names = _name_texts(record)
        raise InvalidValueError(
            f"{column!r} is not a field of {path}" if value is _MISSING else f"{column!r} in {path} is not text",
            field="text_column",
            value=column,
            remedy=f"use {join_or(names)}" if names else "its first record has no text",
            allowed=names,
        )
