"""Shards of other projects are read where they are, as their own code wrote them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepen.data.errors import DataError
from deepen.data.shard_file import write_shard
from deepen.data.shards import Dataset, open_dataset
from deepen.errors import InvalidValueError

TRAINING = np.random.RandomState(0).randint(0, 50257, 3000).astype(np.uint32)
HELD_OUT = np.random.RandomState(1).randint(0, 50257, 500).astype(np.uint32)
LARGE = TRAINING + 70_000


def llm_c(path: Path, tokens: np.ndarray, numbers: tuple[int, int] = (20240520, 1), dtype: str = "uint16") -> None:
    """As the script of llm.c that prepares data."""
    header = np.zeros(256, dtype=np.int32)
    header[0], header[1], header[2] = *numbers, len(tokens)
    with path.open("wb") as file:
        file.write(header.tobytes())
        file.write(tokens.astype(dtype).tobytes())


def llama_3(path: Path, tokens: np.ndarray) -> None:
    llm_c(path, tokens, (20240801, 7), "uint32")


def build_nanogpt(path: Path, tokens: np.ndarray) -> None:
    np.save(path, tokens.astype(np.uint16))


def nanogpt(path: Path, tokens: np.ndarray) -> None:
    tokens.astype(np.uint16).tofile(path)


def olmo_core(path: Path, tokens: np.ndarray) -> None:
    mapped = np.memmap(path, dtype=np.uint32, mode="w+", shape=(len(tokens),))
    mapped[:] = tokens
    mapped.flush()


FORMATS: dict[str, tuple[Callable[[Path, np.ndarray], None], tuple[str, str, str], str | None]] = {
    "llm.c": (llm_c, ("fineweb_train_000001.bin", "fineweb_train_000002.bin", "fineweb_val_000000.bin"), None),
    "llama-3": (llama_3, ("fineweb_train_000001.bin", "fineweb_train_000002.bin", "fineweb_val_000000.bin"), None),
    "build-nanogpt": (
        build_nanogpt,
        ("edufineweb_train_000001.npy", "edufineweb_train_000002.npy", "edufineweb_val_000000.npy"),
        None,
    ),
    "nanoGPT": (nanogpt, ("train.bin", "train2.bin", "val.bin"), "uint16"),
    "OLMo-core": (olmo_core, ("train/part-00.npy", "train/part-01.npy", "val/part-00.npy"), "uint32"),
}


def write(folder: Path, name: str, training: np.ndarray = TRAINING) -> Dataset:
    """Write the tokens as a project does, in two training shards, and open the folder."""
    save, paths, dtype = FORMATS[name]
    for path, tokens in zip(paths, (training[:1000], training[1000:], HELD_OUT), strict=True):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        save(folder / path, tokens)
    return open_dataset(folder, 200_000, dtype=dtype)


@pytest.mark.parametrize("name", FORMATS)
def test_the_tokens_are_those_that_the_project_wrote(name: str, tmp_path: Path):
    dataset = write(tmp_path, name)
    assert np.array_equal(dataset.tokens("train").window(0, 3000), TRAINING)
    assert np.array_equal(dataset.tokens("train").window(900, 200), TRAINING[900:1100])  # in two shards
    assert np.array_equal(dataset.tokens("validation").window(0, 500), HELD_OUT)


@pytest.mark.parametrize("name", ["llama-3", "OLMo-core"])
def test_tokens_above_65535_are_read(name: str, tmp_path: Path):
    dataset = write(tmp_path, name, LARGE)
    assert np.array_equal(dataset.tokens("train").window(0, 3000), LARGE)
    with pytest.raises(DataError, match="vocabulary ends at 65535"):
        open_dataset(tmp_path, 65_536, dtype=FORMATS[name][2])


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_a_shard_that_is_written_here_has_the_header_of_llm_c(dtype: type, tmp_path: Path):
    write_shard(tmp_path / "a.bin", TRAINING.astype(dtype))
    (llm_c if dtype is np.uint16 else llama_3)(tmp_path / "b.bin", TRAINING)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_the_same_file_read_as_another_type_is_other_data(tmp_path: Path):
    for path in ("train.bin", "val.bin"):
        (TRAINING if path == "train.bin" else HELD_OUT).astype(np.uint16).tofile(tmp_path / path)
    identities = {open_dataset(tmp_path, 2**32, dtype=dtype).fingerprint for dtype in ("uint16", "uint32")}
    assert len(identities) == 2


def raw(path: Path) -> None:
    TRAINING.astype(np.uint16).tofile(path)


def floats(path: Path) -> None:
    np.save(path, TRAINING.astype(np.float32))


def table(path: Path) -> None:
    np.save(path, TRAINING.astype(np.uint16).reshape(10, -1))


def pickled(path: Path) -> None:
    np.save(path, np.array([Explosive()], dtype=object), allow_pickle=True)


class Explosive:
    """An object that raises when its pickle is loaded."""

    def __reduce__(self):
        return exec, ("raise RuntimeError('a pickle was loaded')",)


def cut(path: Path) -> None:
    build_nanogpt(path, TRAINING)
    path.write_bytes(path.read_bytes()[:-10])


def broken_header(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<u2', " + bytes(200))


@pytest.mark.parametrize(
    ("damage", "dtype", "message"),
    [
        (raw, None, "x_train.npy has neither llm.c's header nor numpy's"),
        (raw, None, "name their type with data_dtype: uint16 or uint32"),
        (raw, "int16", "data_dtype 'int16' is unknown: use uint16 or uint32"),
        (floats, None, "is an array of float32 of shape (3000,), not of uint16 or uint32 tokens in a row"),
        (table, None, "is an array of uint16 of shape (10, 300), not"),
        (pickled, None, "is an array of pickled objects"),
        (cut, None, "truncated or damaged: its header claims 3,000 tokens, its size fits 2,995"),
        (broken_header, None, "is damaged: its numpy header"),
        (lambda path: path.write_bytes(b""), "uint16", "is empty (0 bytes)"),
        (lambda path: path.write_bytes(b"x" * 9), "uint16", "data_dtype is uint16, but shard"),
        (lambda path: olmo_core(path, TRAINING), "uint16", "every second token of shard"),
    ],
)
def test_a_file_that_cannot_be_read_as_tokens_is_named_with_its_remedy(
    damage: Callable[[Path], None], dtype: str | None, message: str, tmp_path: Path
):
    llm_c(tmp_path / "x_val.bin", HELD_OUT)
    damage(tmp_path / "x_train.npy")
    with pytest.raises(InvalidValueError) as refused:
        open_dataset(tmp_path, 65_536, dtype=dtype)
    assert message in str(refused.value)


def test_text_that_is_not_tokenized_yet_is_sent_to_prepare(tmp_path: Path):
    (tmp_path / "shard_00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"no shard named .*: tokenize its text first$"):
        open_dataset(tmp_path, 65_536)


def test_hidden_files_beside_shards_are_ignored(tmp_path: Path):
    write(tmp_path, "llm.c")
    (tmp_path / "._fineweb_train_000001.bin").write_bytes(b"what macOS writes on other disks")
    assert open_dataset(tmp_path, 65_536).count("train") == 3000
