"""`deepen data verify` and `deepen data info` on folders as users have them."""

import json
from pathlib import Path

import numpy as np
import pytest

from deepen.cli.entry import main
from deepen.data.shards import Dataset


@pytest.fixture
def openwebtext(tmp_path: Path) -> Path:
    """As nanoGPT's script writes it."""
    for name, seed, count in (("train.bin", 0, 3000), ("val.bin", 1, 300)):
        np.random.RandomState(seed).randint(0, 50257, count).astype(np.uint16).tofile(tmp_path / name)
    return tmp_path


def test_a_whole_folder_is_verified(dataset: Dataset, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "verify", str(dataset.folder)]) == 0
    printed = capsys.readouterr().out
    assert f"{dataset.count('train'):,} tokens to train on" in printed and "nothing is wrong" in printed
    assert "all as dataset.json describes; all in the tokenizer's vocabulary of 512" in printed


def test_shards_without_a_header_are_verified_once_their_type_is_named(
    openwebtext: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["data", "verify", str(openwebtext)]) == 1
    printed = capsys.readouterr().out
    assert "train.bin has neither llm.c's header nor numpy's" in printed and "2 problems" in printed
    assert "name their type with --data-dtype: uint16 or uint32" in printed
    assert main(["data", "verify", str(openwebtext), "--data-dtype", "uint16", "--tokenizer", "gpt2"]) == 0
    assert "in the tokenizer's vocabulary of 50,257; nothing is wrong" in capsys.readouterr().out


def test_findings_as_json(openwebtext: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        main(["data", "verify", str(openwebtext), "--json", "--data-dtype", "uint16", "--tokenizer", "byte"]) == 1
    )
    found = json.loads(capsys.readouterr().out)
    assert len(found["problems"]) == 2 and "tokenizer byte ends at 256" in found["problems"][0]


def test_a_folder_is_described(dataset: Dataset, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "info", str(dataset.folder), "--tokens", str(4 * dataset.count("train"))]) == 0
    printed = capsys.readouterr().out
    assert "4.00 epochs" in printed and "Sample (train): " in printed and "llm.c uint16" in printed
    assert main(["data", "info", str(dataset.folder), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["splits"]["train"]["lengths"]["documents"] == 10 and content["vocab"] == 512


def test_without_a_tokenizer_the_remedy_is_named(openwebtext: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["data", "info", str(openwebtext), "--data-dtype", "uint16"]) == 0
    assert "name it with --tokenizer" in capsys.readouterr().out
