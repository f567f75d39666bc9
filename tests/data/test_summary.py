"""A folder of shards is described from its headers and a part of its tokens."""

from pathlib import Path

import numpy as np
import pytest

from deepen.data.shard_file import write_shard
from deepen.data.summary import _BLOCK_TOKENS, summarize_dataset
from deepen.data.tokenizers import make_tokenizer

BYTES = make_tokenizer("byte")
END = BYTES.end_of_text


def write_documents(folder: Path, texts: list[str], *, before: bool = True) -> None:
    ids = [[END, *BYTES.encode(text)] if before else [*BYTES.encode(text), END] for text in texts]
    tokens = np.concatenate(ids).astype(np.uint16)
    write_shard(folder / "a_train_0.bin", tokens[: len(tokens) // 3])
    write_shard(folder / "a_train_1.bin", tokens[len(tokens) // 3 :])
    write_shard(folder / "a_val.bin", np.array(ids[0], np.uint16))


@pytest.mark.parametrize("before", [True, False])
def test_documents_are_counted_and_measured_exactly_in_a_small_dataset(tmp_path: Path, before: bool):
    write_documents(tmp_path, ["x" * length for length in range(1, 102)], before=before)
    train = summarize_dataset(tmp_path, tokenizer="byte").splits["train"]
    assert (train.tokens, train.shards, train.formats) == (101 * 52, 2, ("llm.c uint16",))
    assert train.lengths is not None and train.lengths.exact
    assert (train.lengths.documents, train.lengths.median, train.lengths.longest) == (101, 51, 101)
    assert (train.lengths.tenth, train.lengths.ninetieth) == (11, 91)


def test_documents_of_a_large_dataset_are_estimated(tmp_path: Path):
    every = 500
    tokens = np.full(40 * _BLOCK_TOKENS, 65, np.uint16)
    tokens[::every] = END
    write_shard(tmp_path / "a_train.bin", tokens)
    write_shard(tmp_path / "a_val.bin", tokens[:1000])
    lengths = summarize_dataset(tmp_path, tokenizer="byte").splits["train"].lengths
    assert lengths is not None and not lengths.exact and lengths.median == every - 1
    assert lengths.documents == pytest.approx(len(tokens) / every, rel=1e-3)


def test_the_sample_is_one_printable_line_of_a_document_in_the_middle(tmp_path: Path):
    write_documents(tmp_path, ["first " * 30, "second\n\x1b[31m  line ", "third " * 30])
    assert summarize_dataset(tmp_path, tokenizer="byte").splits["train"].sample in (
        "second [31m line",
        ("third " * 30)[:60].strip(),
    )


def test_without_a_tokenizer_there_are_counts_alone(tmp_path: Path):
    write_documents(tmp_path, ["a few words"])
    summary = summarize_dataset(tmp_path)
    assert summary.tokenizer is None and summary.splits["train"].tokens == 12
    assert summary.splits["train"].lengths is None and summary.splits["train"].sample == ""


def test_a_dataset_that_was_prepared_here_is_described_with_its_notes(described: Path):
    summary = summarize_dataset(described)
    assert summary.description is not None and summary.description.name == "speeches"
    assert summary.splits["train"].lengths is not None and summary.splits["train"].lengths.documents == 10
