"""Preparing data: held-out documents are not trained on, and every file is written completely or not at all."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.data.errors import DataError
from deepen.data.overlap import PASSAGE_WORDS, remove_overlap
from deepen.data.preparation.in_memory import prepare_documents, write_dataset
from deepen.data.shards import open_dataset
from deepen.data.sources import read_embedded


def speech(seed: int, words: int = 400) -> str:
    random = np.random.RandomState(seed)
    return " ".join(f"word{n}" for n in random.randint(0, 5000, words))


def test_documents_that_are_also_held_out_are_dropped_from_training_and_counted(tmp_path: Path):
    held_out = [speech(1), speech(2)]
    respaced = speech(1).replace(" ", "\n ").upper()
    training = [speech(3), speech(1), speech(4), respaced, "before " + speech(2) + " after"]
    prepare_documents(tmp_path, "talks", 512, training, held_out)
    description = json.loads((tmp_path / "dataset.json").read_text())
    assert description["documents"] == {"train": 2, "validation": 2}
    assert description["dropped"] == {"duplicates": 2, f"sharing {PASSAGE_WORDS} words": 1}
    assert open_dataset(tmp_path, 512).vocab == 512


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 2 * PASSAGE_WORDS),
    start=st.integers(0, 200),
    before=st.integers(0, 150),
    after=st.integers(0, 150),
)
def test_a_document_that_shares_a_passage_is_dropped_once_the_passage_is_long_enough(
    length: int, start: int, before: int, after: int
):
    quoted = speech(1).split()[start : start + length]
    document = " ".join([*speech(2, before).split(), "x", *quoted, "y", *speech(3, after).split()])
    remaining = remove_overlap([document], [speech(1)])
    assert (remaining.sharing, len(remaining.documents)) == ((1, 0) if len(quoted) >= PASSAGE_WORDS else (0, 1))


@pytest.mark.slow
def test_the_splits_of_the_embedded_corpus_do_not_overlap():
    training, held_out = read_embedded()
    assert (len(training), len(held_out)) == (233, 16)
    remaining = remove_overlap(training, held_out)
    assert (remaining.duplicates, remaining.sharing, len(remaining.documents)) == (0, 0, 233)


@pytest.mark.parametrize("training", [[], [speech(1)]])
def test_having_nothing_left_to_train_on_is_an_error(tmp_path: Path, training: list[str]):
    with pytest.raises(DataError, match="no document is left"):
        prepare_documents(tmp_path / "data", "talks", 512, training, [speech(1)])
    assert not (tmp_path / "data").exists()


TOKENS = np.arange(1000, dtype=np.uint16)


@pytest.mark.parametrize(
    ("name", "splits", "words"),
    [
        ("a/b", {"train": TOKENS, "validation": TOKENS[:9]}, "beginning of shard names"),
        ("../a", {"train": TOKENS, "validation": TOKENS[:9]}, "beginning of shard names"),
        ("trainer", {"train": TOKENS, "validation": TOKENS[:9]}, "beginning of shard names"),
        ("a", {"train": TOKENS}, "no validation tokens"),
        ("a", {"train": TOKENS[:0], "validation": TOKENS}, "no train tokens"),
        ("a", {"train": TOKENS + 1, "validation": TOKENS}, "token 1000 in train"),
        ("a", {"train": TOKENS, "validation": TOKENS.copy()}, "the same tokens"),
    ],
)
def test_an_invalid_dataset_is_not_written(tmp_path: Path, name: str, splits: dict, words: str):
    with pytest.raises(DataError, match=words):
        write_dataset(tmp_path / "data", name, 1000, "{}", splits)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("limit", [100, 1_500, 2_500, 4_096])
def test_an_interrupted_preparation_leaves_no_partial_file(tmp_path: Path, limit: int):
    """The system's limit on the size of files stands in for a full disk."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    splits = "{'train': np.arange(2000, dtype=np.uint16), 'validation': np.arange(500, dtype=np.uint16)}"
    code = (
        "import resource, signal, sys, numpy as np; from pathlib import Path; "
        "from deepen.data.preparation.in_memory import write_dataset; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"write_dataset(Path({str(whole)!r}), 'a', 2000, '{{}}' + ' ' * 3000, {splits}); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {resource.RLIM_INFINITY})); "
        f"write_dataset(Path({str(cut)!r}), 'a', 2000, '{{}}' + ' ' * 3000, {splits})"
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "File too large" in failed.stderr
    for path in cut.iterdir():
        assert path.read_bytes() == (whole / path.name).read_bytes()
    assert not (cut / "dataset.json").exists()
