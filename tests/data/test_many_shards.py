"""Any number of shards, with any limit of open files; shards that change or cannot be read while they are used."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepen.data.batches import Batches, Prefetcher
from deepen.data.errors import DataError
from deepen.data.shard_file import write_shard
from deepen.data.shards import Dataset, open_dataset
from deepen.data.tokenizers import load_tokenizer
from deepen.errors import RunError

SHARD_TOKENS = 65


def write_shards(folder: Path, count: int) -> np.ndarray:
    """Shards that hold the returned tokens."""
    tokens = np.random.RandomState(0).randint(0, 500, count * SHARD_TOKENS).astype(np.uint16)
    for number, part in enumerate(np.split(tokens, count)):
        write_shard(folder / f"x_train_{number:06d}.bin", part)
    write_shard(folder / "x_val_000000.bin", tokens[::-1][:600])
    return tokens


def test_reading_shards_keeps_no_file_open(tmp_path: Path):
    tokens = write_shards(tmp_path, 100)
    dataset = open_dataset(tmp_path, 512)
    descriptors = Path("/proc/self/fd")
    before = len([*descriptors.iterdir()])
    train = dataset.tokens("train")
    with Prefetcher(Batches(train, 16, seed=0), 320, 16, ahead=True) as prefetcher:
        for position in range(0, 6400, 320):
            prefetcher.at(position)
            assert len([*descriptors.iterdir()]) <= before + 1
    assert np.array_equal(train.window(0, len(train)), tokens)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_thousand_shards_train_and_are_evaluated_under_256_descriptors(
    tmp_path: Path, dataset: Dataset, jobs: int
):
    data = tmp_path / "data"
    data.mkdir()
    write_shards(data, 1031)
    (data / "tokenizer.json").write_bytes((dataset.folder / "tokenizer.json").read_bytes())
    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps({"ctx": "The Congress", "endings": ["met.", "ran away"], "label": 0}) + "\n")
    (tmp_path / "mine.py").write_text(
        "from deepen import Arm, Evaluation, ModelConfig, Study\n"
        "model = ModelConfig(name='m', depth=1, width=8, heads=2, context=16, vocab=512)\n"
        "study = Study(name='many', model=model, tokens=256, batch_tokens=64, context=16, seeds=(0, 1),\n"
        "    arms=(Arm(name='full', recipe='full'),), anchors=(1.0,), accountings=('flops',),\n"
        "    evaluation=Evaluation(every_tokens=64, validation_tokens=512))\n"
    )
    command = [sys.executable, "-m", "deepen", "study", "mine.py", "--data", "data", "--hellaswag", "items.jsonl"]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    done = subprocess.run(
        [*command, "--jobs", str(jobs), "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [arm["marks"][0]["tasks"]["hellaswag"]["n"] for arm in results["arms"]] == [1, 1]


def test_too_many_open_files_is_called_that_with_its_remedy(tmp_path: Path):
    write_shards(tmp_path, 3)
    code = (
        "import os, resource; from pathlib import Path; from deepen.data.shards import open_dataset; "
        "from deepen.data.errors import DataError; used = len(os.listdir('/proc/self/fd')); "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, 4096))\n"
        f"try: open_dataset(Path({str(tmp_path)!r}), 512)\nexcept DataError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Too many open files: allow more open files (ulimit -n)" in done.stdout, done.stderr


def test_a_shard_whose_content_changes_while_it_is_used_is_refused(tmp_path: Path):
    tokens = write_shards(tmp_path, 3)
    dataset = open_dataset(tmp_path, 512)
    path = tmp_path / "x_train_000001.bin"
    write_shard(path, tokens[SHARD_TOKENS : 2 * SHARD_TOKENS])
    os.utime(path, ns=(1, 1))
    assert len(dataset.tokens("train")) == len(tokens)  # the same content, at another time
    write_shard(path, tokens[:SHARD_TOKENS])
    with pytest.raises(RunError, match=r"x_train_000001\.bin has changed since the command began"):
        dataset.tokens("train")
    write_shard(path, tokens[:9])
    with pytest.raises(RunError, match=r"x_train_000001\.bin has changed"):
        dataset.tokens("train")


def test_a_shard_that_is_cut_or_lost_while_it_is_used_raises_an_error(tmp_path: Path):
    """A mapped file would end the process with SIGBUS."""
    write_shards(tmp_path, 3)
    train = open_dataset(tmp_path, 512).tokens("train")
    path = tmp_path / "x_train_000001.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(RunError, match="has changed"):
        train.window(SHARD_TOKENS, SHARD_TOKENS)
    path.unlink()
    with pytest.raises(OSError, match=r"x_train_000001\.bin") as failed:
        train.window(SHARD_TOKENS, SHARD_TOKENS)
    assert failed.value.errno == errno.ENOENT


def test_a_shard_that_the_system_cannot_read_is_not_called_damaged(tmp_path: Path):
    write_shards(tmp_path, 3)
    name = "x" * 300 + "_train.bin"
    with pytest.raises(DataError, match="cannot be read: File name too long: use a shorter path"):
        open_dataset(tmp_path / name, 512)


@pytest.mark.parametrize("name", [b"a b", b"[x]*?", b"\xff\xfe", b"new\nline", "größe".encode()])
def test_a_folder_may_have_any_name(tmp_path: Path, dataset: Dataset, name: bytes):
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    for path in dataset.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert open_dataset(folder, 512).identity == dataset.identity
    (folder / "dataset.json").unlink()
    plain = open_dataset(folder, 512)
    assert plain.identity == dataset.identity and plain.name.encode() == name.replace(b"\xff\xfe", b"??")
    assert load_tokenizer(folder).vocab == 512
