"""Verifying reads every byte and reports everything that is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest

from deepen.data.errors import DataError
from deepen.data.known_shards import examine_known
from deepen.data.shard_file import write_shard
from deepen.data.shards import Dataset
from deepen.data.verify import verify_dataset


def test_a_whole_folder_has_no_problem(described: Path, dataset: Dataset):
    reported: list[float | None] = []
    found = verify_dataset(described, lambda what, share: reported.append(share))
    assert found.problems == () and reported[-1] == pytest.approx(1, abs=0.1)
    assert {split: sum(map(len, shards)) for split, shards in found.shards.items()} == {
        "train": dataset.count("train"),
        "validation": dataset.count("validation"),
    }
    assert found.tokenizer is not None and found.tokenizer.sha256 == dataset.tokenizer_sha256


def test_every_problem_is_reported(described: Path):
    train, held_out = described / "speeches_train_000000.bin", described / "speeches_val_000000.bin"
    content = bytearray(train.read_bytes())
    content[5000] ^= 1
    train.write_bytes(content)
    held_out.rename(described / "speeches_val_000001.bin")
    write_shard(described / "more_train.bin", np.full(100, 600, np.uint16))
    problems = [str(error) for error in verify_dataset(described).problems]
    assert len(problems) == 5
    for words in (
        "speeches_train_000000.bin is not the one that dataset.json describes",
        "speeches_val_000000.bin is missing, but dataset.json names it",
        "speeches_val_000001.bin is not among those of dataset.json",
        "more_train.bin is not among those of dataset.json",
        "more_train.bin has token 600, tokenizer",
    ):
        assert sum(words in problem for problem in problems) == 1, (words, problems)


def test_a_damaged_description_and_tokenizer_are_problems_beside_those_of_shards(described: Path):
    (described / "dataset.json").write_text("{")
    (described / "tokenizer.json").write_text("{")
    (described / "speeches_train_000000.bin").write_bytes(b"x" * 99)
    problems = "\n".join(map(str, verify_dataset(described).problems))
    for words in ("dataset.json is damaged", "tokenizer.json is not a tokenizer", "has neither llm.c's header"):
        assert words in problems


def test_a_folder_without_shards_is_a_wrong_request(tmp_path: Path):
    with pytest.raises(DataError, match="has no shard named"):
        verify_dataset(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        verify_dataset(tmp_path / "nothing")


def bytes_read(path: Path, *, read_again: bool = False, min_age_seconds: float = -60) -> tuple[int, str]:
    """How many bytes of a shard are read, and its hash. The age counts from the future, as no test waits."""
    counts: list[int] = []
    known = examine_known(
        path, on_bytes=counts.append, min_bytes=0, read_again=read_again, min_age_seconds=min_age_seconds
    )
    return (0 if counts == [path.stat().st_size] else sum(counts)), known.sha256


@pytest.fixture
def shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPEN_CACHE", str(tmp_path / "cache"))
    write_shard(tmp_path / "a_train.bin", np.arange(5000, dtype=np.uint16))
    return tmp_path / "a_train.bin"


def test_a_large_shard_is_read_once_until_it_changes(shard: Path):
    read, sha256 = bytes_read(shard)
    assert read == 10_000 and bytes_read(shard) == (0, sha256)
    assert bytes_read(shard, read_again=True) == (10_000, sha256)
    status = shard.stat()
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"\x7f")
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))  # as rsync and tar restore it
    read, changed = bytes_read(shard)
    assert read == 10_000 and changed != sha256


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"file": 3}', b'{"sha256": "0"}'])
def test_what_is_remembered_wrongly_is_forgotten(shard: Path, tmp_path: Path, content: bytes):
    expected = bytes_read(shard)
    [entry] = (tmp_path / "cache" / "shards").iterdir()
    entry.write_bytes(content)
    assert bytes_read(shard) == expected


def test_a_shard_that_was_changed_just_now_is_not_remembered(shard: Path):
    assert bytes_read(shard, min_age_seconds=60)[0] == bytes_read(shard, min_age_seconds=60)[0] == 10_000
