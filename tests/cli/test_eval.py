"""`deepen eval`: a checkpoint of ours or of Hugging Face's, with the harness's tasks and with ours."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deepen.cli.entry import main
from deepen.cli.requests.eval import parse
from deepen.data.shards import Dataset
from deepen.interop.checkpoint_files import write_checkpoint
from deepen.interop.export import export_hugging_face
from deepen.model.config import ModelConfig
from deepen.study.store.checkpoints import find_checkpoint
from deepen.train.state import initial_state
from processes import wait_until

ENDINGS = [" a vessel", " the treaty of peace", " citizens", " revenue and commerce"]
ROWS = [
    {
        "activity_label": "Congress",
        "ctx": f"The committee reported to {who}",
        "ctx_a": f"The committee reported to {who}",
        "ctx_b": "",
        "endings": ENDINGS[index % 4 :] + ENDINGS[: index % 4],
        "label": index % 3,
    }
    for index, who in enumerate(("Congress", "the Union", "them", "all", "the President", "me", "us", "it"))
]


@pytest.fixture
def ours(model: ModelConfig, dataset: Dataset, tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "ours", initial_state(model, 12, seed=0), model, (), dataset.folder)
    return tmp_path / "ours"


@pytest.fixture
def hellaswag(tmp_path: Path) -> Path:
    file = tmp_path / "hellaswag.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    return file


def scores(printed: str, task: str, by: str) -> dict[str, tuple[float, int]]:
    found: list[dict[str, Any]] = json.loads(printed)["scores"]
    return {s["metric"]: (s["value"], s["n"]) for s in found if (s["task"], s["by"]) == (task, by)}


@pytest.mark.slow
def test_ours_and_its_export_have_the_same_scores_by_the_harness_and_by_us(
    ours: Path, hellaswag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    export_hugging_face(find_checkpoint(ours), tmp_path / "exported")
    names = f"hellaswag={hellaswag},deepen:hellaswag-harness={hellaswag},deepen:hellaswag={hellaswag}"
    printed = []
    for checkpoint in (ours, tmp_path / "exported"):
        assert main(["eval", str(checkpoint), "--tasks", names, "--json"]) == 0
        printed.append(capsys.readouterr().out)
    theirs = scores(printed[0], "hellaswag", "harness")
    assert theirs.keys() == {"acc", "acc_norm"} and theirs["acc"][1] == 8
    for each in printed:
        assert scores(each, "hellaswag", "harness") == theirs
        assert scores(each, "hellaswag-harness", "deepen") == theirs
        assert scores(each, "hellaswag", "deepen").keys() == {"acc_token", "acc"}


@pytest.mark.slow
def test_a_table_is_printed_and_every_answer_is_written(
    ours: Path, hellaswag: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / "all.json"
    tasks = ["--tasks", f"hellaswag={hellaswag}", "--tasks", f"deepen:hellaswag={hellaswag}"]
    assert main(["eval", str(ours), *tasks, "--limit", "5", "-o", str(out)]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    rows = re.findall(r"^hellaswag +(harness|deepen) +(\w+) +\d\.\d{4} +\d\.\d{4} +5 +0 *$", printed.out, re.M)
    assert rows == [("harness", "acc"), ("harness", "acc_norm"), ("deepen", "acc_token"), ("deepen", "acc")]
    assert len(json.loads(out.read_text())["samples"]["hellaswag"]) == 5


@pytest.mark.slow
def test_a_limit_is_that_of_each_phenomenon_for_the_harness_and_for_us(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    texts = ("peace", "war", "commerce", "it", "the two", "all", "us")
    wh, adjunct = "wh_island", "adjunct_island"
    parts = (wh, adjunct, wh, wh, adjunct, adjunct, wh)
    rows = [
        {"sentence_good": text, "sentence_bad": text[::-1], "UID": part}
        for text, part in zip(texts, parts, strict=True)
    ]
    (tmp_path / "blimp.jsonl").write_text("\n".join(map(json.dumps, rows)))
    names = f"blimp={tmp_path / 'blimp.jsonl'},deepen:blimp={tmp_path / 'blimp.jsonl'}"
    assert main(["eval", str(ours), "--tasks", names, "--limit", "2", "--json"]) == 0
    printed = capsys.readouterr().out
    assert scores(printed, "blimp", "harness") == scores(printed, "blimp", "deepen")
    assert scores(printed, "blimp", "deepen")["acc"][1] == 4


def test_our_own_tasks_need_no_harness(ours: Path, hellaswag: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["eval", str(ours), "--tasks", f"deepen:hellaswag={hellaswag}", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["harness"] == "" and shown["files"]["deepen:hellaswag"]["sha256"]
    assert {score["by"] for score in shown["scores"]} == {"deepen"}


def test_the_name_of_a_task_may_have_hyphens_or_underscores(ours: Path, tmp_path: Path):
    row = {"question": "Who", "choices": {"text": ["we", "it"], "label": ["A", "B"]}, "answerKey": "B"}
    (tmp_path / "arc.jsonl").write_text(json.dumps(row))
    file = tmp_path / "arc.jsonl"
    names = f"arc-easy={file},arc_challenge={file},deepen:arc_easy={file},deepen:arc-challenge={file},arc-easy"
    request = parse([str(ours), "--tasks", names])
    assert [task.name for task in request.harness_tasks] == ["arc_easy", "arc_challenge", "arc_easy"]
    assert [task.task for task in request.own_tasks] == ["arc-easy", "arc-challenge"]


def test_a_wrong_file_is_named_before_the_model_is_loaded(
    ours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "bad.jsonl").write_text('{"goal": "a"}\n')
    assert main(["eval", str(ours), "--tasks", f"piqa={tmp_path / 'bad.jsonl'}"]) == 2
    assert "bad.jsonl, line 1: not a PIQA item" in capsys.readouterr().err


def test_pickles_in_a_checkpoint_are_refused(
    ours: Path, hellaswag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "exported"
    export_hugging_face(find_checkpoint(ours), folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    assert main(["eval", str(folder), "--tasks", f"hellaswag={hellaswag}"]) == 2
    assert "pytorch_model.bin" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_of_the_checkpoint_that_was_exported(
    which: signal.Signals, ours: Path, hellaswag: Path, tmp_path: Path
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    hellaswag.write_text("\n".join([hellaswag.read_text()] * 500))  # a minute's work
    command = [sys.executable, "-m", "deepen", "eval", str(ours), "--tasks", f"hellaswag={hellaswag}"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    scoring = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: bool(list(temporary.glob("deepen-eval-*/checkpoint"))), scoring)
    scoring.send_signal(which)
    _, errors = scoring.communicate(timeout=60)
    assert scoring.returncode == 130 and errors.splitlines()[-1] == "stopped; nothing was written"
    assert not list(temporary.glob("deepen-eval-*"))
