"""Wrong requests: exit code 2, one line per problem with its remedy, no traceback, nothing written."""

from pathlib import Path

import pytest

from deepen.cli.main import main
from deepen.data.shards import Dataset

REQUESTS = [
    # arguments, words that the error must hold
    ([], ["deepen study quickstart"]),
    (["stdy"], ["stdy", "study"]),
    (["study"], ["NAME"]),
    (["study", "quikstart"], ["quikstart", "did you mean 'quickstart'", "paper"]),
    (["study", "missing.py"], ["missing.py", "does not exist"]),
    (["study", "quickstart", "--sed", "3"], ["--sed", "--seeds"]),
    (["study", "quickstart", "--seeds", "0"], ["--seeds", "at least 1"]),
    (["study", "quickstart", "--seeds", "two"], ["--seeds", "whole number"]),
    (["study", "quickstart", "--tokens", "0"], ["--tokens", "at least 1"]),
    (["study", "quickstart", "--tokens", "100"], ["tokens is 100", "at least one step"]),
    (["study", "quickstart", "--tokens", "20000"], ["two-phase S=12", "less than one step"]),
    (["study", "quickstart", "--lr", "-1"], ["--lr", "above 0"]),
    (["study", "quickstart", "--lr", "nan"], ["--lr"]),
    (["study", "quickstart", "--rate", "wds"], ["--rate", "did you mean 'wsd'", "cosine"]),
    (["study", "quickstart", "--model", "nanno"], ["--model", "nano", "gpt2-124m"]),
    (["study", "quickstart", "--preset", "paper-as-written"], ["--preset"]),
    (["study", "quickstart", "--data", "nowhere"], ["nowhere", "does not exist"]),
    (["study", "quickstart", "--hellaswag", "no.jsonl"], ["no.jsonl", "does not exist"]),
    (["study", "quickstart", "--scale", "0"], ["--scale", "above 0"]),
    (["study", "quickstart", "--jobs", "0"], ["--jobs", "at least 1"]),
    (["study", "quickstart", "--out"], ["--out"]),
    (["study", "quickstart", "--on-spike", "skp"], ["--on-spike", "did you mean 'skip'", "warn", "stop"]),
    (["train", "full", "--on-spike", "no"], ["--on-spike", "warn, skip, stop"]),
    (["study", "paper"], ["--data", "FineWeb-edu"]),
    (["study", "quickstart", "--scale", "0.5", "--tokens", "50000"], ["--tokens", "--scale"]),
    (["study", "paper", "--preset", "paper-as-writen"], ["paper-as-writen", "paper-as-written"]),
    (["study", "paper", "--data", "sotu", "--scale", "1e-9"], ["less than one step"]),
    (["train"], ["RECIPE", "two-phase"]),
    (["train", "twophase"], ["twophase", "did you mean 'two-phase'"]),
    (["train", "two-phase", "--model", "nano", "--stages", "13"], ["stages is 13", "1 to 12"]),
    (["train", "two-phase", "--stages", "0"], ["--stages", "at least 1"]),
    (["train", "two-phase", "--stages", "2.5"], ["--stages", "whole number"]),
    (["train", "two-phase", "--scope", "new-block"], ["--scope", "did you mean 'new-blocks'"]),
    (["train", "two-phase", "--partition", "sprad"], ["partition", "spread"]),
    (["train", "two-phase", "--partition", "6,7"], ["partition 6,7", "add up to 12"]),
    (["train", "two-phase", "--grow-at", "0.5"], ["--grow-at", "two-phase", "--stages"]),
    (["train", "one-shot", "--grow-at", "1.5"], ["--grow-at", "at most 1"]),
    (["train", "one-shot", "--grow-at", "1"], ["grow_at is 1"]),
    (["train", "one-shot", "--start-depth", "12"], ["start_depth is 12", "0 to 11"]),
    (["train", "one-shot", "--start-depth", "0"], ["start_depth 0", "random"]),
    (["train", "one-shot", "--stages", "4"], ["--stages", "one-shot", "--start-depth"]),
    (["train", "full", "--stages", "4"], ["--stages", "full"]),
    (["train", "full", "--preset", "paper-as-written"], ["--preset", "two-phase"]),
    (["train", "full", "--tokens", "0"], ["--tokens", "at least 1"]),
    (["train", "full", "--tokens", "10"], ["tokens is 10", "at least one step"]),
    (["train", "full", "--tokens", "5000", "--steps", "5"], ["--tokens", "--steps"]),
    (["train", "full", "--context", "128"], ["context is 128", "64 positions"]),
    (["train", "full", "--batch-tokens", "100"], ["batch_tokens is 100", "multiple of context"]),
    (["train", "full", "--precision", "fp8"], ["fp8", "bf16"]),
    (["train", "full", "--seed", "-1"], ["--seed"]),
    (["train", "full", "--seed", "5000000000"], ["seeds", "4,294,967,296"]),
    (["train", "two-phase", "--stages", "20", "--tokens", "10"], ["stages is 20", "tokens is 10"]),
    (["train", "full", "--data", "nowhere"], ["nowhere", "does not exist"]),
    (["train", "full", "nano"], ["nano"]),
    (["plan"], ["RECIPE"]),
    (["plan", "two-fase"], ["two-fase", "two-phase"]),
    (["plan", "two-phase", "--stages", "13"], ["stages is 13"]),
    (["plan", "two-phase", "--tokens", "1e30x"], ["--tokens", "whole number"]),
    (["plan", "two-phase", "--steps", "3"], ["less than one step"]),
    (["plan", "paper", "--stages", "3"], ["--stages"]),
    (["report"], ["STUDY"]),
    (["report", "nowhere"], ["nowhere", "results.json"]),
    (["recipes", "--jsn"], ["--jsn", "--json"]),
    (["recipes", "full"], ["full"]),
    (["doctor", "--verbose"], ["--verbose"]),
]


@pytest.mark.parametrize(
    ("arguments", "words"), REQUESTS, ids=lambda value: " ".join(value) if value else "nothing"
)
def test_a_wrong_request_is_answered_in_lines(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    said = printed.err or printed.out
    for word in words:
        assert word in said, said
    assert "Traceback" not in said
    if arguments:
        assert all(line.startswith("error: ") for line in printed.err.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert (
        main(
            ["train", "two-phase", "--lr", "x", "--stages", "13", "--grow-at", "0.5", "--sed", "1", "--data", "no"]
        )
        == 2
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for word in ("--lr", "stages is 13", "--grow-at", "--sed"):
        assert sum(word in line for line in lines) >= 1, lines
    assert main(["study", "quickstart", "--data", "no", "--hellaswag", "none.jsonl", "--tokens", "20000"]) == 2
    said = capsys.readouterr().err
    assert "no does not exist" in said and "none.jsonl" in said and "less than one step" in said


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "thesis.tex").write_text("all I have")
    assert main(["train", "full", "--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    file = tmp_path / "thesis.tex"
    assert main(["train", "full", "--out", str(file)]) == 2
    assert "is a file" in capsys.readouterr().err and file.read_text() == "all I have"


def test_data_of_another_tokenizer_or_damaged_is_refused_by_name(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for path in dataset.folder.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    shard = data / "speeches_train_000000.bin"
    shard.write_bytes(shard.read_bytes()[:-10])
    assert main(["train", "full", "--data", str(data), "--out", str(out)]) == 2
    assert shard.name in capsys.readouterr().err and not out.exists()


def test_a_python_file_that_is_no_study_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "study.py"
    arm = "Arm(name='a', recipe='{}', options={{'sizes': 3}})"
    study = (
        "from deepen import *\nfrom deepen.model.config import PRESETS\nfrom deepen.study.arms import Evaluation\n"
        "study = Study(name='x', model=PRESETS['nano'], tokens=99999, batch_tokens=64, context=64, baseline='{}',"
        f" arms=({arm},), evaluation=Evaluation(every_tokens=640, validation_tokens=64))"
    )
    for text, words in (
        (study.format("a", "ful"), "recipe 'ful' is unknown"),
        (study.format("a", "full"), "has no option sizes"),
        (study.format("b", "full"), "baseline 'b' is not an arm"),
        ("x = 1", "no `study`"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
    ):
        file.write_text(text)
        assert main(["study", str(file)]) == 2
        assert words in capsys.readouterr().err
