"""Data that is not what it claims to be: forged, swapped, made with another tokenizer, or linked to elsewhere."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepen.data.errors import DataError
from deepen.data.preparation.in_memory import write_dataset
from deepen.data.shard_file import write_shard
from deepen.data.shards import open_dataset
from deepen.data.tokenizers import load_tokenizer, train_bpe
from deepen.study.define.study import Study
from deepen.study.store.errors import StoreError
from deepen.study.store.study_folder import Store

TRAIN, VALIDATION = "speeches_train_000000.bin", "speeches_val_000000.bin"


@pytest.fixture(params=[True, False], ids=["described", "plain"])
def folder(request: pytest.FixtureRequest, described: Path) -> Path:
    """A copy of the dataset, with its dataset.json and without."""
    if not request.param:
        (described / "dataset.json").unlink()
    return described


def forge(*values: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / TRAIN
        content = path.read_bytes()
        header = struct.pack(f"<{len(values)}i", *values)
        path.write_bytes(header + content[len(header) :])

    return damage


def add_a_byte(folder: Path) -> None:
    path = folder / TRAIN
    path.write_bytes(path.read_bytes() + b"\0")


def link_to_nothing(folder: Path) -> None:
    (folder / TRAIN).unlink()
    (folder / TRAIN).symlink_to(folder / "nothing")


def link_to_itself(folder: Path) -> None:
    (folder / TRAIN).unlink()
    (folder / TRAIN).symlink_to(folder / TRAIN)


def become_a_folder(folder: Path) -> None:
    (folder / TRAIN).unlink()
    (folder / TRAIN).mkdir()


def become_a_pipe(folder: Path) -> None:
    (folder / TRAIN).unlink()
    os.mkfifo(folder / TRAIN)


DAMAGES = {
    "a negative count": (forge(20240520, 1, -1), "claims -1 tokens"),
    "the lowest count": (forge(20240520, 1, -(2**31)), "claims -2,147,483,648 tokens"),
    "the highest count": (forge(20240520, 1, 2**31 - 1), "claims 2,147,483,647 tokens"),
    "a count of none": (forge(20240520, 1, 0), "claims 0 tokens"),
    "another version": (forge(20240520, 2), "header 20240520, 2"),
    "a llama shard": (forge(20240801, 7), "truncated or damaged"),
    "an evaluation": (forge(20240522, 1), "evals"),
    "a byte more": (add_a_byte, "truncated or damaged"),
    "a link to nothing": (link_to_nothing, "leads nowhere"),
    "a link to itself": (link_to_itself, "leads nowhere"),
    "a folder": (become_a_folder, "is not a file"),
    "a pipe": (become_a_pipe, "is not a file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_refused_by_name(folder: Path, damage: str):
    make, words = DAMAGES[damage]
    make(folder)
    with pytest.raises(DataError, match=TRAIN) as refused:
        open_dataset(folder, 512)
    assert words in str(refused.value)


def test_files_may_be_links_to_elsewhere_as_the_hugging_face_cache_makes_them(folder: Path, tmp_path: Path):
    identity = open_dataset(folder, 512).identity
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for path in [*folder.iterdir()]:
        path.rename(blobs / path.name)
        path.symlink_to(Path("..", "blobs", path.name))
    assert open_dataset(folder, 512).identity == identity
    assert load_tokenizer(folder).vocab == 512
    (blobs / VALIDATION).write_bytes((blobs / TRAIN).read_bytes())
    with pytest.raises(DataError, match=VALIDATION):
        open_dataset(folder, 512)


def test_the_same_shard_in_both_splits_is_refused(folder: Path):
    (folder / VALIDATION).write_bytes((folder / TRAIN).read_bytes())
    description = folder / "dataset.json"
    if description.exists():
        content = json.loads(description.read_text())
        content["shards"][VALIDATION] = content["shards"][TRAIN]
        description.write_text(json.dumps(content))
    with pytest.raises(DataError, match="are the same") as refused:
        open_dataset(folder, 512)
    assert TRAIN in str(refused.value) and VALIDATION in str(refused.value)


def test_swapped_shards_are_refused_if_described_and_different_data_otherwise(folder: Path):
    plain = not (folder / "dataset.json").exists()
    before = open_dataset(folder, 512).fingerprint
    (folder / TRAIN).rename(folder / "kept")
    (folder / VALIDATION).rename(folder / TRAIN)
    (folder / "kept").rename(folder / VALIDATION)
    if plain:
        assert open_dataset(folder, 512).fingerprint != before
    else:
        with pytest.raises(DataError, match=TRAIN):
            open_dataset(folder, 512)


@pytest.mark.parametrize("place", [0, 777, -1])
def test_a_token_outside_the_vocabulary_is_found_at_any_position(tmp_path: Path, place: int):
    tokens = np.arange(2_000_003, dtype=np.uint16) % 500
    tokens[place] = 512
    write_shard(tmp_path / "a_train.bin", tokens)
    write_shard(tmp_path / "a_val.bin", tokens[:5000] % 500)
    with pytest.raises(DataError, match=r"a_train\.bin has token 512"):
        open_dataset(tmp_path, 512)


@pytest.mark.parametrize("place", [1, 1234, -1])
def test_the_fingerprint_of_plain_shards_depends_on_every_token(tmp_path: Path, place: int):
    tokens = np.arange(500_000, dtype=np.uint16) % 500
    write_shard(tmp_path / "a_val.bin", tokens[:5000])
    fingerprints = set()
    for value in (3, 4):
        tokens[place] = value
        write_shard(tmp_path / "a_train.bin", tokens)
        fingerprints.add(open_dataset(tmp_path, 512).fingerprint)
    assert len(fingerprints) == 2


def test_a_tokenizer_of_another_vocabulary_beside_the_shards_is_refused(described: Path):
    other = train_bpe(["other words than before"] * 3, 300)
    (described / "tokenizer.json").write_text(other.to_json())
    with pytest.raises(DataError, match=r"tokenizer\.json is not the tokenizer"):
        open_dataset(described, 512)
    (described / "dataset.json").unlink()  # without a description, tasks still check the tokenizer
    with pytest.raises(DataError, match=r"has token \d+, the model's vocabulary ends at 255"):
        load_tokenizer(described, 256)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"{}", b"\x80\x04", b'{"model": {"type": "BPE", "vocab": {"a": -1}}}']
)
def test_a_file_that_is_not_a_tokenizer_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../up.bin", "/etc/passwd", "a/b.bin", "..", "", "a\\b.bin"])
def test_a_description_that_names_files_elsewhere_is_refused(described: Path, name: str):
    path = described / "dataset.json"
    content = json.loads(path.read_text())
    content["shards"][name] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="leads out of the folder"):
        open_dataset(described, 512)


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "vocab true": lambda content: content | {"vocab": True},
    "vocab nan": lambda content: content | {"vocab": float("nan")},
    "vocab text": lambda content: content | {"vocab": "512"},
    "vocab negative": lambda content: content | {"vocab": -512},
    "no vocab": lambda content: {key: value for key, value in content.items() if key != "vocab"},
    "name a list": lambda content: content | {"name": ["x"]},
    "shards a list": lambda content: content | {"shards": list(content["shards"])},
    "sha a number": lambda content: content | {"shards": dict.fromkeys(content["shards"], 5)},
    "no tokenizer": lambda content: content | {"tokenizer_sha256": None},
    "a list": lambda content: [content],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_description_of_wrong_types_is_damaged(described: Path, change: str):
    path = described / "dataset.json"
    path.write_text(json.dumps(CHANGES[change](json.loads(path.read_text()))))
    with pytest.raises(DataError, match=r"dataset\.json is damaged"):
        open_dataset(described, 512)


def test_a_description_nested_too_deep_is_damaged(described: Path):
    (described / "dataset.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match="damaged"):
        open_dataset(described, 512)


def test_a_shard_that_is_missing_or_not_described_is_refused(described: Path):
    shard, other = described / TRAIN, described / "speeches_train_000001.bin"
    other.write_bytes(shard.read_bytes())
    with pytest.raises(DataError, match=f"{other.name} is not among"):
        open_dataset(described, 512)
    other.unlink()
    content = json.loads((described / "dataset.json").read_text())
    content["shards"][other.name] = "0" * 64
    (described / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"{other.name} is missing"):
        open_dataset(described, 512)


def test_a_study_refuses_other_data_under_the_same_name(
    described: Path, tmp_path: Path, make_study: Callable[..., Study]
):
    store, study = Store(tmp_path / "out"), make_study(data=str(described))
    store.open(study, {"data": open_dataset(described, 512).identity})
    kept = (store.folder / "study.json").read_bytes()
    tokens = np.arange(5000, dtype=np.uint16) % 512
    tokenizer = (described / "tokenizer.json").read_text()
    write_dataset(described, "speeches", 512, tokenizer, {"train": tokens, "validation": tokens[:999]})
    with pytest.raises(StoreError, match="the data differs from what"):
        store.open(study, {"data": open_dataset(described, 512).identity})
    assert (store.folder / "study.json").read_bytes() == kept
