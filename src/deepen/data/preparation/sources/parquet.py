"""Parquet files: one document per row."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen.data.preparation.blocks import BLOCK_BYTES, Block, Document, Problem
from deepen.errors import InvalidValueError, join_or
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
            columns = [column, *_LICENCE_COLUMNS]  # those that it lacks are ignored
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
        texts=_read_texts(find_values(batch, column)),
        licences=() if licences is None else _read_texts(licences),
    )


def find_values(table: Any, column: str) -> Any:
    """The column of that name, or else at that path within structs; None if there is none."""
    if column in table.schema.names:
        return table[column]
    if _find_type(table.schema, column) is None:
        return None
    name, *path = column.split(".")
    return _import("pyarrow.compute").struct_field(table[name], path)


def _read_texts(column: Any) -> tuple[Any, ...]:
    """The values of a column; bytes where its text is not UTF-8."""
    if _import("pyarrow.types").is_dictionary(column.type):
        column = column.cast(column.type.value_type)
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
    kind, names = _find_type(schema, column), _name_texts(schema)
    if kind is None or not _holds_text(kind):
        raise InvalidValueError(
            f"{column!r} is not a column of {name}"
            if kind is None
            else f"{column!r} in {name} holds {kind}, not text",
            field="text_column",
            value=column,
            remedy=f"use {join_or(names)}" if names else "none of its columns holds text",
            allowed=names,
        )


def _find_type(schema: Any, column: str) -> Any:
    """The type of the column of that name, or else at that path within structs; None if there is none."""
    if column in schema.names:
        return schema.field(column).type
    is_struct, fields, kind = _import("pyarrow.types").is_struct, schema, None
    for name in column.split("."):
        if fields is None or name not in [field.name for field in fields]:
            return None
        kind = fields.field(name).type
        fields = kind if is_struct(kind) else None
    return kind


def _name_texts(schema: Any) -> list[str]:
    """The columns that hold text, nested ones by their path."""
    names, waiting = list[str](), [(field.name, field.type) for field in reversed([*schema])]
    while waiting:
        name, kind = waiting.pop()
        if _import("pyarrow.types").is_struct(kind):
            waiting += [(f"{name}.{field.name}", field.type) for field in reversed([*kind])]
        elif _holds_text(kind) and _find_type(schema, name) == kind:
            names.append(name)
    return names


def _holds_text(kind: Any) -> bool:
    types = _import("pyarrow.types")
    kind = kind.value_type if types.is_dictionary(kind) else kind
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
