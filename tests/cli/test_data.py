"""`deepen data prepare` as its user sees it."""

import json
import shlex
from pathlib import Path

import pytest

from deepen.cli.entry import main
from preparation_support import make_documents, write_jsonl


def test_what_was_made_is_printed_last_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write_jsonl(tmp_path / "a.jsonl", [*make_documents(), "", "copy", "copy"])
    command = [
        "data",
        "prepare",
        str(source),
        "-o",
        str(tmp_path / "out"),
        "--tokenizer",
        "byte",
        "--workers",
        "1",
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{tmp_path / 'out'}: 2 shards of uint16 tokens, vocabulary 257"
    assert "1 repeating another, 1 without text" in printed[3]
    assert printed[-1] == f"Train on it: deepen train full --data {tmp_path / 'out'} --vocab 257"
    assert main([*command, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["documents"]["train"] + answer["documents"]["validation"] == 61
    assert answer["dropped"]["duplicates"] == 1 and answer["folder"] == str(tmp_path / "out")


@pytest.mark.slow
def test_a_model_trains_on_what_was_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source, out = write_jsonl(tmp_path / "a.jsonl", make_documents()), tmp_path / "data"
    assert main(["data", "prepare", str(source), "-o", str(out), "--tokenizer", "train:512"]) == 0
    training = ["train", "full", "--data", str(out), "--tokens", "4096", "--out", str(tmp_path / "run")]
    assert main([*training, "--model", "nano"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--tokenizer nowhere", "--tokenizer is 'nowhere', and there is no such"),
        ("--tokenizer train:many", "--tokenizer is 'train:many': a vocabulary has"),
        ("--tokenizer train:60000", "--tokenizer is train:60000, but the source has text for"),
        ("--tokenizer byte --separator '<|eot|>'", "--separator is '<|eot|>', which the tokenizer does not have"),
        ("--tokenizer byte --val-tokens 1M", "--val-tokens is 1,000,000, for which more than half of the"),
        ("--tokenizer byte --text-column txt", "--text-column 'txt' is not a field of"),
        (
            "--tokenizer byte --strict",
            "a.jsonl, line 3: it is not JSON: correct or remove it, or leave out --strict",
        ),
    ],
)
def test_what_cannot_be_prepared_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: str, problem: str
):
    monkeypatch.chdir(tmp_path)
    source = write_jsonl(tmp_path / "a.jsonl", make_documents(2))
    source.write_text(source.read_text() + "{\n")
    assert main(["data", "prepare", "a.jsonl", "-o", "out", "--workers", "1", *shlex.split(options)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and problem in lines[0]
    assert not (tmp_path / "out").exists()
