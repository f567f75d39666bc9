"""Datasets of the Hub, read with the real library: from a folder, since tests have no network."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepen.data.preparation.prepare import prepare
from deepen.data.preparation.settings import PreparationProgress, PreparationSettings
from deepen.errors import InvalidValueError
from preparation_support import contents, make_documents, read_prepared


def write_dataset(folder: Path, documents: int, words: int) -> None:
    folder.mkdir()
    for number in range(3):
        table = pa.table({"text": make_documents(documents, words, seed=number), "n": [*range(documents)]})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=64)


@pytest.mark.slow
def test_a_stream_is_prepared_as_its_files_are_and_continues_where_it_was_interrupted(tmp_path: Path):
    dataset_folder = tmp_path / "dataset"
    write_dataset(dataset_folder, 200, 1_000)

    def prepare_source(source: str, folder: Path, interrupt_after: int = 0) -> None:
        reports = 0

        def report(progress: PreparationProgress) -> None:
            nonlocal reports
            reports += 1
            if reports == interrupt_after:
                raise KeyboardInterrupt

        preparation = PreparationSettings(source=source, tokenizer="byte", val_tokens=10_000)
        prepare(preparation, folder, on_progress=report, save_every=0)

    stream = f"hf:{dataset_folder}"
    with pytest.raises(KeyboardInterrupt):
        prepare_source(stream, tmp_path / "a" / "out", interrupt_after=1)
    with pytest.raises(KeyboardInterrupt):
        prepare_source(stream, tmp_path / "a" / "out", interrupt_after=1)
    prepare_source(stream, tmp_path / "a" / "out")
    prepare_source(str(dataset_folder), tmp_path / "b" / "out")
    streamed, read = contents(tmp_path / "a" / "out"), contents(tmp_path / "b" / "out")
    assert len(streamed) == 4
    for name in streamed.keys() - {"dataset.json"}:
        assert streamed[name] == read[name]
    description = json.loads(streamed["dataset.json"])
    assert description["source"]["dataset"] == str(dataset_folder)
    assert len(read_prepared(tmp_path / "a" / "out", description).training) > 590


@pytest.mark.parametrize(
    ("name", "column", "problem"),
    [
        ("{}", "txt", "text_column 'txt' is not a column of"),
        ("{}", "n", "'n' in .* holds int64, not text"),
        ("{}:large", "text", "source .*'large' not found"),
        ("{}:default:train:more", "text", "source .* has 4 parts: write hf:NAME:CONFIG:SPLIT"),
        ("{}::validation", "text", "source .*validation"),
    ],
)
def test_names_that_a_dataset_does_not_have_are_refused(tmp_path: Path, name: str, column: str, problem: str):
    dataset_folder = tmp_path / "dataset"
    write_dataset(dataset_folder, 2, 10)
    preparation = PreparationSettings(
        source=f"hf:{name.format(dataset_folder)}", text_column=column, tokenizer="byte"
    )
    with pytest.raises(InvalidValueError, match=problem):
        prepare(preparation, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset"]


def test_without_the_hub_the_error_says_how_to_work_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        InvalidValueError, match=r"the Hub cannot be reached .*: copy the dataset .*hf download a/b"
    ):
        prepare(PreparationSettings(source="hf:a/b:c", tokenizer="byte"), tmp_path / "out")
    assert not list(tmp_path.iterdir())
