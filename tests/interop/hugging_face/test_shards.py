"""Files of tensors that are written in pieces, read by the safetensors library."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepen.interop.hugging_face.shards import NewTensor, Repeated, Stored, write_shards
from deepen.interop.hugging_face.weight_files import INDEX, find_tensors
from deepen.train.checkpoint.tensor_file import encode_number

TENSORS = {
    "bytes": torch.arange(5, dtype=torch.uint8),
    "half": torch.randn(3, 3).bfloat16(),
    "float": torch.randn(7),
    "eighth": torch.randn(4, 4).to(torch.float8_e4m3fn),
    "whole": torch.arange(3),
    "empty": torch.zeros(0, 4),
    "scalar": torch.tensor(2.5, dtype=torch.float16),
}


@pytest.fixture
def stored(tmp_path: Path) -> list[NewTensor]:
    source = tmp_path / "source"
    source.mkdir()
    save_file(TENSORS, source / "model.safetensors")
    return [
        NewTensor(name=name, dtype=each.dtype, shape=each.shape, bytes=each.bytes, content=Stored(each))
        for name, each in find_tensors(source).items()
    ]


@pytest.mark.parametrize("shard_bytes", [1, 30, 10**9])
def test_copies_are_equal_byte_by_byte_in_any_number_of_files(
    stored: list[NewTensor], shard_bytes: int, tmp_path: Path
):
    out = tmp_path / "out"
    out.mkdir()
    written = []
    write_shards(stored, out, shard_bytes=shard_bytes, on_bytes=written.append)
    files = sorted(out.glob("*.safetensors"))
    assert sum(written) == sum(tensor.bytes for tensor in stored)
    loaded = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name].flatten().view(torch.uint8), tensor.flatten().view(torch.uint8))
    if shard_bytes == 10**9:
        assert [file.name for file in files] == ["model.safetensors"] and not (out / INDEX).exists()
    else:
        index = json.loads((out / INDEX).read_text())
        assert index["metadata"]["total_size"] == sum(tensor.bytes for tensor in stored)
        assert {name: out / file for name, file in index["weight_map"].items()} == {
            name: file for file in files for name in load_file(file)
        }
        assert all(len(load_file(file)) == 1 or file.stat().st_size < 8 + 1000 + shard_bytes for file in files)
        assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64"])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_a_repeated_number_fills_a_tensor(dtype: str, value: float, tmp_path: Path):
    size = {"F32": 4, "BF16": 2, "F16": 2, "F64": 8}[dtype]
    tensor = NewTensor(
        name="t", dtype=dtype, shape=(5, 3), bytes=15 * size, content=Repeated(encode_number(value, dtype))
    )
    write_shards([tensor], tmp_path)
    assert torch.equal(load_file(tmp_path / "model.safetensors")["t"].double(), torch.full((5, 3), value).double())


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error(stored: list[NewTensor], tmp_path: Path):
    (tmp_path / "source" / "model.safetensors").write_bytes(b"")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OSError, match="became shorter while it was read"):
        write_shards(stored, out)
