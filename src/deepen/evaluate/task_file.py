"""Task files: JSONL, plain or compressed with gzip, or a folder of such files that count as one.

    for row, item in read_items(path, "BLiMP", "sentence_good, sentence_bad", publish, parse):
        ...
    hash_task_file(path)                            # of the content: the same for a copy, compressed or not

A folder counts as its JSONL files one after the other, in the order of their names, and has the hash of a single
file with all their lines.
"""

import codecs
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from deepen.evaluate.task import TaskError
from deepen.os_errors import explain

MAX_LINE_BYTES = 1 << 20
"""Longer lines are refused; the longest line of HellaSwag has fewer than two thousand bytes."""

Row = dict[str, Any]
Item = TypeVar("Item")

_SUFFIXES = (".jsonl", ".jsonl.gz")
_READ_BYTES = 1 << 20


def hash_task_file(path: Path) -> str:
    """The sha256 of a task file's content, which identifies it wherever it is, compressed or not.

    Raises:
        TaskError: there is no such file, or it cannot be read.
    """
    digest = hashlib.sha256()
    last = b"\n"
    for part in task_files(path):
        if last != b"\n":
            digest.update(b"\n")
        with _open(part) as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
                last = block[-1:]
    return digest.hexdigest()


def read_rows(path: Path, title: str) -> Iterator[tuple[str, Any]]:
    """The JSON value of each line, with the line's place for messages. Blank lines are skipped.

    Args:
        path: a file, or a folder of files.
        title: the task's name in messages.

    Raises:
        TaskError: a file cannot be read, has a line that is not JSON, or there is no line at all.
    """
    rows = 0
    for part in task_files(path):
        for number, line in enumerate(_read_lines(part), start=1):
            if line.strip() or len(line) > MAX_LINE_BYTES:
                rows += 1
                where = f"{part}, line {number}"
                yield where, _parse(line, where, title)
    if rows == 0:
        raise TaskError(
            f"{title} file {path} has no items",
            value=path,
            remedy="name a JSONL file with one item per line",
        )


def task_files(path: Path) -> list[Path]:
    """The files of a task: the file itself, or the JSONL files of a folder in the order of their names.

    Raises:
        TaskError: there is none.
    """
    try:
        if path.is_file():  # reading a pipe or a device might never end
            return [path]
        inside = sorted(path.iterdir()) if path.is_dir() else []
        problem = "is not a file" if path.exists() else "does not exist"
    except OSError as error:
        raise _unreadable(path, error) from None
    files = [file for file in inside if file.name.endswith(_SUFFIXES) and file.is_file()]
    if not files:
        raise TaskError(f"task file {path} {problem}", value=path, remedy="name a JSONL file")
    return files


def read_items(
    path: Path, title: str, fields: str, publish: Callable[[Any], Row], parse: Callable[[Row], Item]
) -> Iterator[tuple[Row, Item]]:
    """The row of each line as it was published, and what a task makes of it.

    Args:
        path: a file, or a folder of files.
        title: the task's name in messages.
        fields: the fields of a row in messages.
        publish: makes a published row of a line's JSON; raises a ValueError, TypeError, KeyError, IndexError or
            AttributeError if it cannot.
        parse: makes the task's item of it; raises the same.

    Raises:
        TaskError: as `read_rows`, or a line is not an item of the task.
    """
    for where, content in read_rows(path, title):
        try:
            row = publish(content)
            item = parse(row)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise _wrong_row(where, title, fields) from None
        yield row, item


def _wrong_row(where: str, title: str, fields: str) -> TaskError:
    return TaskError(
        f"{where}: not a {title} item ({fields})",
        value=where,
        remedy="download the file again, or correct the line",
    )


def _parse(line: bytes, where: str, title: str) -> Any:
    if len(line) > MAX_LINE_BYTES:
        raise _wrong_row(where, title, "the line is too long")
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _wrong_row(where, title, "the line is not JSON in UTF-8") from None


def _read_lines(path: Path) -> Iterator[bytes]:
    with _open(path) as file:
        line = file.readline(MAX_LINE_BYTES + 1).removeprefix(codecs.BOM_UTF8)
        while line:
            yield line
            line = file.readline(MAX_LINE_BYTES + 1)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Open the content of a file, decompressed if it is a gzip file, for a `with` block."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as content:
            yield content  # type: ignore[misc]  # a GzipFile is a binary file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        problem = f"task file {path} is a damaged gzip file ({error})"
        raise TaskError(problem, value=path, remedy="download it again") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> TaskError:
    problem, remedy = explain(error)
    return TaskError(f"task file {path} cannot be read: {problem}", value=path, remedy=remedy)
