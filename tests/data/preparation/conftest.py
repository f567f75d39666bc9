from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deepen.data.preparation.prepare import prepare
from deepen.data.preparation.settings import PreparationSettings
from preparation_support import Prepared, make_documents, read_prepared, write_jsonl


@pytest.fixture
def prepare_bytes(tmp_path: Path) -> Callable[..., Prepared]:
    """A function that prepares a source, or documents, with the byte tokenizer."""

    def prepare_source(
        source: Path | Sequence[str], out: str = "out", workers: int = 1, **options: Any
    ) -> Prepared:
        if not isinstance(source, Path):
            source = write_jsonl(tmp_path / f"{out}.jsonl", source)
        preparation = PreparationSettings(source=str(source), tokenizer="byte", **options)
        return read_prepared(tmp_path / out, prepare(preparation, tmp_path / out, workers))

    return prepare_source


@pytest.fixture
def documents() -> list[str]:
    return make_documents()
