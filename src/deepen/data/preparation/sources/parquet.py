"""Parquet files: one document per row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen.data.preparation.blocks import BLOCK_BYTES, Block, Document, Problem
from deepen.errors import InvalidValueError
from deepen.extras import import_extra

_LICENCE_COLUMNS = ("license", "licence")
_MAX_BATCH_ROWS = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Rows of a table that are read already.

    Attributes:
        name: the table, for messages.
        first: the number of the first row, counted from 1.
        texts: the text of each row.
        licences: the licence that each row names, if the table has such a column.
        problem: why the table cannot be read beyond these rows; empty if it can.
    """

    name: str
    first: int
    texts: tuple[str | bytes | None, ...]
    licences: tuple[object, ...] = ()
    problem: str = ""

    def read(self) -> Iterator[Document | Problem]:
        """The documents of the rows; a row without text is an empty document."""
        for index, text in enumerate(self.texts):
            where = f"{self.name}, row {self.first + index:,}"
            licence = (self.licences[index] if self.licences else None) or ""
            try:
                yield Document(text.decode() if isinstance(text, bytes) else text or "", where, str(licence))
            except UnicodeDecodeError:
                yield Problem(where, "it is not UTF-8")
        if self.problem:
            yield Problem(self.name, self.problem)


def divide_file(path: Path, column: str, on_share: Callable[[float], None]) -> Iterator[Block]:
    """The blocks of a Parquet file; `on_share` receives the share of its rows that was read before each."""
    parquet, first = _import("pyarrow.parquet"), 1
    try:
        with parquet.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            columns = [name for name in (column, *_LICENCE_COLUMNS) if name in file.schema_arrow.names]
            for batch in file.iter_batches(_batch_rows(file, column), columns=columns):
                on_share((first - 1 + len(batch)) / rows)
                yield make_rows(str(path), first, batch, column)
                first += len(batch)
    except _errors() as error:
        yield Rows(name=str(path), first=first, texts=(), problem=_first_line(error))


def make_rows(name: str, first: int, batch: Any, column: str) -> Rows:
    """Rows of an Arrow table or record batch."""
    licences = next((batch[other] for other in _LICENCE_COLUMNS if other in batch.schema.names), None)
    return Rows(
        name=name,
        first=first,
        texts=_read_texts(batch[column]),
        licences=() if licences is None else _read_texts(licences),
    )


def _read_texts(column: Any) -> tuple[Any, ...]:
    """The values of a column; bytes where its text is not UTF-8."""
    try:
        return tuple(column.to_pylist())
    except UnicodeDecodeError:
        return tuple(column.cast(_import("pyarrow").binary()).to_pylist())


def check_column(path: Path, column: str) -> None:
    """Raise an InvalidValueError if a Parquet file has no such column of text; damaged files are found later."""
    parquet = _import("pyarrow.parquet")
    try:
        schema = parquet.read_schema(path)
    except _errors():
        return
    check_schema(schema, column, str(path))


def check_schema(schema: Any, column: str, name: str) -> None:
    """Raise an InvalidValueError if an Arrow schema has no such column of text."""
    types = _import("pyarrow.types")
    texts = [field.name for field in schema if _holds_text(types, field.type)]
    if column not in schema.names:
        raise InvalidValueError(
            f"{column!r} is not a column of {name}",
            field="text_column",
            value=column,
            remedy=f"use {', '.join(texts)}" if texts else "none of its columns holds text",
            allowed=texts,
        )
    if column not in texts:
        kind = schema.field(column).type
        raise InvalidValueError(
            f"{column!r} in {name} holds {kind}, not text",
            field="text_column",
            value=column,
            remedy=f"use {', '.join(texts)}" if texts else "none of its columns holds text",
        )


def _holds_text(types: Any, kind: Any) -> bool:
    return any(
        getattr(types, check)(kind)
        for check in ("is_string", "is_large_string", "is_string_view", "is_binary", "is_large_binary")
    )


def _batch_rows(file: Any, column: str) -> int:
    """Rows of about a block of text, by the size of the column in the first row group."""
    if not file.metadata.num_row_groups:
        return 1
    group = file.metadata.row_group(0)
    columns = (group.column(index) for index in range(group.num_columns))
    size: int = sum(each.total_uncompressed_size for each in columns if each.path_in_schema == column)
    rows: int = group.num_rows
    return max(1, min(_MAX_BATCH_ROWS, BLOCK_BYTES * rows // max(1, size)))


def _errors() -> tuple[type[Exception], ...]:
    """What reading a damaged file raises; names of columns are decoded too."""
    return (_import("pyarrow").ArrowException, OSError, ValueError)


def _first_line(error: Exception) -> str:
    return f"it cannot be read ({(str(error).splitlines() or [''])[0][:120]})"


def _import(module: str) -> Any:
    return import_extra(module, extra="data", purpose="reading Parquet")
