"""Wrong requests: exit code 2, one line per problem with its remedy, no traceback, nothing written."""

import shlex
from pathlib import Path

import pytest

from deepen.cli.entry import main
from deepen.data.shards import Dataset
from wrong_requests import WRONG

REQUESTS = [
    # arguments, words that the error must contain
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
    (["study", "quickstart", "--tokens", "7000"], ["two-phase S=4", "less than one step"]),
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
    (["train", "full", "--on-spike", "no"], ["--on-spike", "warn, skip or stop"]),
    (["study", "paper"], ["--data", "FineWeb-edu"]),
    (["study", "quickstart", "--scale", "0.5", "--tokens", "50000"], ["--tokens", "--scale"]),
    (["study", "paper", "--preset", "paper-as-writen"], ["paper-as-writen", "paper-as-written"]),
    (["study", "paper", "--data", "sotu", "--scale", "1e-9"], ["less than one step"]),
    (["train"], ["RECIPE", "two-phase"]),
    (["train", "twophase"], ["twophase", "did you mean 'two-phase'"]),
    (["train", "two-phase", "--model", "nano", "--stages", "13"], ["stages is 13", "1 to 12"]),
    (["train", "two-phase", "--stages", "0"], ["stages is 0", "1 to 12 stages"]),
    (["train", "two-phase", "--stages", "2.5"], ["--stages", "whole number"]),
    (["train", "two-phase", "--scope", "new-block"], ["--scope", "did you mean 'new-blocks'"]),
    (["train", "two-phase", "--partition", "sprad"], ["partition", "spread"]),
    (["train", "two-phase", "--partition", "6,7"], ["partition 6,7", "add up to 12"]),
    (["train", "two-phase", "--grow-at", "0.5"], ["--grow-at", "two-phase", "--stages"]),
    (["train", "one-shot", "--grow-at", "1.5"], ["--grow-at is 1.5", "between 0 and 1"]),
    (["train", "one-shot", "--grow-at", "1"], ["--grow-at is 1"]),
    (["train", "one-shot", "--start-depth", "12"], ["--start-depth is 12", "0 to 11"]),
    (["train", "one-shot", "--start-depth", "0"], ["--operator", "--start-depth 0", "random"]),
    (["train", "one-shot", "--stages", "4"], ["--stages", "one-shot", "--start-depth"]),
    (["train", "full", "--stages", "4"], ["--stages", "full"]),
    (["train", "full", "--preset", "paper-as-written"], ["--preset", "two-phase"]),
    (["train", "full", "--tokens", "0"], ["--tokens", "at least 1"]),
    (["train", "full", "--tokens", "10"], ["tokens is 10", "at least one step"]),
    (["train", "full", "--tokens", "5000", "--steps", "5"], ["--tokens", "--steps"]),
    (["train", "full", "--context", "128"], ["context is 128", "64 positions"]),
    (["train", "full", "--batch-tokens", "100"], ["--batch-tokens is 100", "multiple of --context"]),
    (["train", "full", "--precision", "fp8"], ["fp8", "bf16"]),
    (["train", "full", "--seed", "-1"], ["--seed"]),
    (["train", "full", "--seed", "5000000000"], ["seeds", "4,294,967,296"]),
    (["train", "two-phase", "--stages", "20", "--tokens", "10"], ["stages is 20", "tokens is 10"]),
    (["train", "full", "--data", "nowhere"], ["nowhere", "does not exist"]),
    (["train", "full", "nano"], ["nano"]),
    (["train", "full", "--out", "a" * 256], ["--out is 'aaa", "at most 255 bytes"]),
    (["study", "quickstart", "--hellaswag", f"here/{'ä' * 128}/there"], ["--hellaswag is", "at most 255 bytes"]),
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
    (["bench", "--model", "nanno"], ["--model", "did you mean 'nano'"]),
    (["bench", "--precision", "fp8"], ["--precision", "fp32 or bf16"]),
    (["bench", "--steps", "0", "--threads", "0"], ["--steps is 0", "--threads is 0"]),
    (["bench", "--context", "128"], ["context is 128", "64 positions"]),
    (["bench", "--batch-tokens", "100"], ["--batch-tokens is 100", "multiple of --context 64"]),
    (["bench", "--width", "21"], ["width 21 is not a multiple of heads 2"]),
    (["bench", "--out", "."], ["--out is '.': name a file in a folder that exists"]),
    (["bench", "--out", "none/bench.json"], ["--out is 'none/bench.json': name a file in a folder that exists"]),
    (["bench", "--out", "thesis.tex/b.json"], ["--out is 'thesis.tex/b.json'", "a folder that exists"]),
    (["plan", "full", "--figure", "thesis.tex/b.svg"], ["--figure is 'thesis.tex/b.svg'", "a folder that exists"]),
    (["train", "full", "--out", "thesis.tex/run"], ["--out thesis.tex is a file: name a folder"]),
    (["bench", "--out", "thesis.tex", "--steps", "x"], ["thesis.tex contains no bench figures", "--steps"]),
    (["bench", "nano"], ["nano"]),
    (["bench", "--model", "llama-70b"], ["llama-70b takes", "GB", "smaller --model"]),
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
    (tmp_path / "thesis.tex").write_text("all I have")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    errors = captured.err or captured.out
    for word in words:
        assert word in errors, errors
    assert "Traceback" not in errors
    if arguments:
        assert all(line.startswith("error: ") for line in captured.err.splitlines())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["all I have"]


def test_all_problems_are_reported_at_once(
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
    assert main(["study", "quickstart", "--data", "no", "--hellaswag", "none.jsonl", "--tokens", "7000"]) == 2
    errors = capsys.readouterr().err
    assert "no does not exist" in errors and "none.jsonl" in errors and "less than one step" in errors


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


def test_a_tokenizer_that_cannot_be_read_is_refused_before_anything_is_trained(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for path in dataset.folder.glob("*.bin"):
        (data / path.name).write_bytes(path.read_bytes())
    (data / "tokenizer.json").write_text("{}")
    assert main(["train", "full", "--data", str(data), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "tokenizer.json is not a tokenizer" in line and not out.exists()


def test_a_python_file_without_a_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "study.py"
    arm = "Arm(name='a', recipe='{}', options={{'sizes': 3}})"
    study = (
        "from deepen import *\nfrom deepen.model.presets import PRESETS\n"
        "from deepen.study.define.study import Evaluation\n"
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


@pytest.mark.parametrize("request_line", WRONG)
def test_every_option_of_every_command_is_checked(
    request_line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(request_line)) == 2
    errors = capsys.readouterr()
    assert errors.out == "" and "Traceback" not in errors.err
    lines = errors.err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert any(line.startswith(f"error: {WRONG[request_line]}") for line in lines), errors.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_two_checks_read_is_one_problem(capsys: pytest.CaptureFixture[str]):
    assert main(["study", "quickstart", "--hellaswag", "missing.jsonl"]) == 2
    assert capsys.readouterr().err == "error: task file missing.jsonl does not exist: name a JSONL file\n"


ITEM = '{"ctx": "a b", "endings": ["c", "d"], "label": 1}\n'
FILES: dict[str, tuple[str, bytes | None, str]] = {
    # what is wrong: the request with FILE in it, the file's content (None: a folder), the words of the answer
    "bench not JSON": ("plan full --model nano --bench FILE", b"{", "it is not JSON"),
    "bench empty": ("plan full --model nano --bench FILE", b"", "it is not JSON"),
    "bench a list": ("plan full --model nano --bench FILE", b"[]", "is not an object"),
    "bench of nothing": ("plan full --model nano --bench FILE", b"{}", "has no device"),
    "bench deep": ("plan full --model nano --bench FILE", b"[" * 200_000, "it is not JSON"),
    "bench binary": ("plan full --model nano --bench FILE", b"\x80\x04\x95", "it is not JSON"),
    "bench a folder": ("plan full --model nano --bench FILE", None, "is not a file"),
    "bench out over notes": ("bench --model nano --out FILE", b"my notes", "contains no bench figures"),
    "bench out a folder": ("bench --model nano --out FILE", None, "name a file in a folder"),
    "study no study": ("study FILE.py", b"study = 3", "defines no `study`"),
    "study fails": ("study FILE.py", b"raise RuntimeError('x')", "RuntimeError: x"),
    "study leaves": ("study FILE.py", b"import sys; sys.exit(0)", "SystemExit"),
    "study binary": ("study FILE.py", b"\x80\x04\x95\0", "failed"),
    "study endless": ("study FILE.py", b"def f(): f()\nf()", "RecursionError"),
    "study imports nothing": ("study FILE.py", b"import no_such_module", "ModuleNotFoundError"),
    "study rate nan": ("study FILE.py", b"from deepen.schedule.rate import WSD\nWSD(peak=float('nan'))", "peak"),
    "study decay nan": (
        "study FILE.py",
        b"from deepen.schedule.rate import WSD\nWSD(decay_share=float('nan'))",
        "decay_share",
    ),
    "study norm nan": (
        "study FILE.py",
        b"from deepen.train.settings import TrainSettings\nTrainSettings(max_grad_norm=float('nan'))",
        "max_grad_norm",
    ),
    "study decay of weights nan": (
        "study FILE.py",
        b"from deepen.train.optim.spec import OptimizerSpec\nOptimizerSpec.adamw(weight_decay=float('nan'))",
        "weight_decay",
    ),
    "study init nan": (
        "study FILE.py",
        b"from dataclasses import replace\nfrom deepen.model.presets import PRESETS\n"
        b"replace(PRESETS['nano'], init_std=float('nan'))",
        "init_std",
    ),
    "data a file": ("train full --data FILE", b"", "is a file"),
    "data empty": ("train full --data FILE", None, "has no shard"),
    "out a file": ("train full --out FILE", b"all I have", "is a file"),
    "study out a file": ("study quickstart --out FILE", b"all I have", "is a file"),
    "report a file": ("report FILE", b"x", "has no results.json"),
    "report a folder": ("report FILE", None, "has no results.json"),
    "task empty": ("study quickstart --hellaswag FILE", b"", "has no items"),
    "task a folder": ("study quickstart --hellaswag FILE", None, "is not a file"),
    "task not JSON": ("study quickstart --hellaswag FILE", b"{\n", "line 1"),
    "task second line": ("study quickstart --hellaswag FILE", ITEM.encode() + b"{\n", "line 2"),
    "task binary": ("study quickstart --hellaswag FILE", b"\x80\x04\x95\n", "line 1"),
    "task not UTF-8": (
        "study quickstart --hellaswag FILE",
        ITEM.replace("a b", "\xe4").encode("latin-1"),
        "line 1",
    ),
    "task half a character": (
        "study quickstart --hellaswag FILE",
        ITEM.replace("a b", "\\ud800").encode(),
        "line 1",
    ),
    "task no context": ("study quickstart --hellaswag FILE", ITEM.replace("a b", "").encode(), "line 1"),
    "task context a number": ("study quickstart --hellaswag FILE", ITEM.replace('"a b"', "3").encode(), "line 1"),
    "task one ending": ("study quickstart --hellaswag FILE", ITEM.replace(', "d"', "").encode(), "line 1"),
    "task endings text": (
        "study quickstart --hellaswag FILE",
        ITEM.replace('["c", "d"]', '"cd"').encode(),
        "line 1",
    ),
    "task blank ending": ("study quickstart --hellaswag FILE", ITEM.replace('"d"', '" "').encode(), "line 1"),
    "task label beyond": ("study quickstart --hellaswag FILE", ITEM.replace("1}", "2}").encode(), "line 1"),
    "task label below": ("study quickstart --hellaswag FILE", ITEM.replace("1}", "-1}").encode(), "line 1"),
    "task label half": ("study quickstart --hellaswag FILE", ITEM.replace("1}", "0.5}").encode(), "line 1"),
    "task label nan": ("study quickstart --hellaswag FILE", ITEM.replace("1}", "NaN}").encode(), "line 1"),
    "task label true": ("study quickstart --hellaswag FILE", ITEM.replace("1}", "true}").encode(), "line 1"),
    "task deep": ("study quickstart --hellaswag FILE", b"[" * 200_000, "line 1"),
    "task endless line": ("study quickstart --hellaswag FILE", b" " * (1 << 21), "line 1"),
}


@pytest.mark.parametrize("wrong", FILES)
def test_a_file_of_the_wrong_kind_is_refused(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    line, content, words = FILES[wrong]
    monkeypatch.chdir(tmp_path)
    name = "given.py" if "FILE.py" in line else "given"
    if content is None:
        Path(name).mkdir()
    else:
        Path(name).write_bytes(content)
    assert main(line.replace("FILE.py", name).replace("FILE", name).split()) == 2
    errors = capsys.readouterr().err
    assert words in errors and "given" in errors and "Traceback" not in errors, errors
    assert all(each.startswith("error: ") for each in errors.splitlines())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert content is None or Path(name).read_bytes() == content


@pytest.mark.parametrize("option", ["--out", "--data", "--hellaswag"])
def test_a_zero_byte_in_a_path_is_refused(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "quickstart", option, "a\0b"]) == 2
    assert option in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_current_folder_that_was_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == "error: the current folder does not exist any more: change to another one\n"
