"""Datasets of the Hugging Face Hub, streamed: nothing is stored but what is made of them."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepen.data.preparation.blocks import BLOCK_BYTES, Placed, Position
from deepen.data.preparation.sources.parquet import check_schema, find_values, make_rows
from deepen.errors import InvalidValueError, RunError
from deepen.extras import import_extra

_ROWS_AT_ONCE = 128
_TIMEOUT_SECONDS = 20.0
_NOISY = ("datasets", "huggingface_hub", "fsspec", "httpx")
"""Loggers whose lines would disturb the display of progress."""

_WORK_OFFLINE = (
    "copy the dataset from a machine that reaches it (hf download {name} --repo-type dataset --include PATTERN "
    "--local-dir FOLDER), and name that folder as the source"
)


class HubSource:
    """A split of a dataset, in the revision that it has now.

    Args:
        name: `NAME[:CONFIG[:SPLIT]]`; the split is `train` where it is left out. NAME can also be a local folder
            that the `datasets` library reads.
        column: the column that holds the text, or the path of a nested one (`meta.text`).

    Raises:
        InvalidValueError: there is no such dataset, configuration, split or column, or the Hub cannot be reached.
    """

    def __init__(self, name: str, column: str) -> None:
        self._repository, config, split, *others = (*name.split(":"), "", "")
        self._name, self._column = f"hf:{name}", column
        if any(others):
            raise InvalidValueError(
                f"{self._name} has {name.count(':') + 1} parts",
                field="source",
                value=self._name,
                remedy="write hf:NAME:CONFIG:SPLIT, at most",
            )
        split = split or "train"
        self._datasets = _import("datasets")
        self._datasets.disable_progress_bars()
        for noisy in _NOISY:
            logging.getLogger(noisy).setLevel(logging.ERROR)
        revision, self.licence = self._read_card()
        self._stream = self._load(config, split, revision)
        self._rows = _count_rows(self._stream, split)
        self.description: Mapping[str, Any] = {
            "dataset": self._repository,
            "config": config,
            "split": split,
            "revision": revision or "",
        }
        self.identity = repr((*self.description.values(), column))
        if self._stream.features is not None:
            check_schema(self._stream.features.arrow_schema, column, self._name)

    def blocks(self, start: Position) -> Iterator[Placed]:
        """The blocks from a position on."""
        stream = self._stream.with_format("arrow")
        if start:
            stream.load_state_dict(start["state"])
        read = start.get("rows", 0)
        tables, size = list[Any](), 0
        concat = _import("pyarrow").concat_tables

        def make_block() -> Placed:
            nonlocal read, tables, size
            table = concat(tables)
            check_schema(table.schema, self._column, self._name)
            block = make_rows(self._name, read + 1, table, self._column)
            read, tables, size = read + len(table), [], 0
            share = min(1.0, read / self._rows) if self._rows else None
            return Placed(block, {"rows": read, "state": stream.state_dict()}, share)

        try:
            for table in stream.iter(batch_size=_ROWS_AT_ONCE):
                tables.append(table)
                values = find_values(table, self._column)
                size += 0 if values is None else values.nbytes
                if size >= BLOCK_BYTES:
                    yield make_block()
            if tables:
                yield make_block()
        except InvalidValueError:
            raise
        except Exception as error:  # of the network, the Hub, the file system, or Arrow
            raise RunError(
                f"{self._name} cannot be read beyond row {read:,} ({_first_line(error)})",
                remedy="the same command continues there",
            ) from None

    def _read_card(self) -> tuple[str | None, str]:
        """The revision of the dataset and the name of its licence, from the Hub; nothing for a local folder."""
        if Path(self._repository).is_dir():
            return None, ""
        hub = _import("huggingface_hub")
        try:
            info = hub.HfApi().dataset_info(self._repository, timeout=_TIMEOUT_SECONDS)
        except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError):
            raise InvalidValueError(
                f"{self._repository} is not a dataset of the Hub, or a private one",
                field="source",
                value=self._name,
                remedy="correct the name, or log in (hf auth login)",
            ) from None
        except Exception as error:  # the library lets errors of its HTTP client and of the system through
            raise InvalidValueError(
                f"{self._name} cannot be read: the Hub cannot be reached ({_first_line(error)})",
                field="source",
                value=self._name,
                remedy=_WORK_OFFLINE.format(name=self._repository),
            ) from None
        licence = getattr(info.card_data, "license", None) or ""
        return info.sha, licence if isinstance(licence, str) else ", ".join(map(str, licence))

    def _load(self, config: str, split: str, revision: str | None) -> Any:
        try:
            return self._datasets.load_dataset(
                self._repository, config or None, split=split, revision=revision, streaming=True
            )
        except Exception as error:  # ValueErrors for wrong names, and those of the network
            raise InvalidValueError(
                f"{self._name} cannot be read: {_first_line(error)}",
                field="source",
                value=self._name,
                remedy=f"write hf:{self._repository}:CONFIG:SPLIT with names that it has",
            ) from None


def _count_rows(stream: Any, split: str) -> int:
    """Rows of the split, as far as the dataset states them; otherwise 0."""
    splits = stream.info.splits or {}
    return int(splits[split].num_examples or 0) if split in splits else 0


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _import(module: str) -> Any:
    return import_extra(module, extra="data", purpose="reading a dataset of the Hub")
