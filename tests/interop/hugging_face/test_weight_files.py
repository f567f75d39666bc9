"""Folders in Hugging Face's format: which are complete, and what is wrong with the others."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.weight_files import INDEX, find_tensors

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards with an index."""
    save_file({"b": torch.zeros(2, 3), "a": torch.zeros(4, dtype=torch.bfloat16)}, tmp_path / SHARDS[0])
    save_file({"c": torch.zeros(1)}, tmp_path / SHARDS[1])
    weight_map = {"a": SHARDS[0], "b": SHARDS[0], "c": SHARDS[1]}
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidValueError) as refused:
        find_tensors(folder)
    assert refused.value.field == "checkpoint"
    return str(refused.value).replace(str(folder), "FOLDER")


def test_the_tensors_of_all_shards_are_found(folder: Path):
    found = find_tensors(folder)
    assert {name: (each.dtype, each.shape, each.bytes) for name, each in found.items()} == {
        "a": ("BF16", (4,), 8),
        "b": ("F32", (2, 3), 24),
        "c": ("F32", (1,), 4),
    }
    assert [each.path.name for each in found.values()] == [SHARDS[0], SHARDS[0], SHARDS[1]]


def test_one_file_needs_no_index(tmp_path: Path):
    save_file({"a": torch.arange(3)}, tmp_path / "model.safetensors")
    assert list(find_tensors(tmp_path)) == ["a"]


def test_a_missing_shard_is_named(folder: Path):
    (folder / SHARDS[1]).unlink()
    assert f"FOLDER misses {SHARDS[1]}, which {INDEX} lists: copy the missing files" in refusal(folder)


@pytest.mark.parametrize("size", [0, 7, 40, -1])
def test_a_truncated_shard_is_named(folder: Path, size: int):
    content = (folder / SHARDS[0]).read_bytes()
    (folder / SHARDS[0]).write_bytes(content[:size])
    message = refusal(folder)
    assert f"{SHARDS[0]} is damaged" in message and f"copy {SHARDS[0]} again" in message


def test_an_index_that_does_not_fit_its_shards_is_refused(folder: Path):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({"weight_map": index["weight_map"] | {"d": SHARDS[1]}}))
    assert "misses tensors that model.safetensors.index.json lists: d" in refusal(folder)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("", "it is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "it has no weight_map"),
        ("{}", "it has no weight_map"),
        ('{"weight_map": {}}', "it has no weight_map"),
        ('{"weight_map": ["a"]}', "it has no weight_map"),
        ('{"weight_map": {"a": "../b"}}', "weight_map has '../b' for a, and there is no such file beside it"),
        ('{"weight_map": {"a": 3}}', "weight_map has 3 for a, and there is no such file beside it"),
    ],
)
def test_an_index_that_is_none_is_refused(folder: Path, index: str, reason: str):
    (folder / INDEX).write_text(index)
    assert f"has an index that cannot be used, {INDEX} ({reason})" in refusal(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "pytorch_model-00001-of-00002.bin"])
def test_pickles_are_refused_with_the_way_to_convert_them(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n")
    message = refusal(tmp_path)
    assert f"has only pickled weights ({name}), which can run any code" in message
    assert "save_pretrained('FOLDER-safetensors')" in message


def test_other_formats_and_nothing_at_all_are_named(tmp_path: Path):
    assert "FOLDER has no weights" in refusal(tmp_path)
    (tmp_path / "model-q4.gguf").write_bytes(b"")
    assert "has neither model.safetensors nor" in refusal(tmp_path) and "model-q4.gguf" in refusal(tmp_path)
