"""The study's definition and its command, as text to copy."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from deepen.cli.requests import study, train
from deepen.cli.requests.command_line import describe_command_line
from deepen.durable import write_json
from deepen.report.page.config import MAX_LINE_LENGTH, lay_out, read_config


@pytest.mark.parametrize(
    "value",
    [
        {},
        [1, 2.5, None, True, 'ä\n"quoted"'],
        {"arms": [{"name": "one-shot", "options": {"grow_at": 0.5}, "n": list(range(60))}] * 3, "seeds": [0, 1]},
    ],
)
def test_the_layout_is_the_same_json_in_short_lines(value: Any):
    text = lay_out(value)
    assert json.loads(text) == value
    assert max(map(len, text.splitlines())) <= MAX_LINE_LENGTH


def test_the_home_folder_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    write_json(tmp_path / "study.json", {"study": {"data": "/home/me/shards", "tokenizer": "/home/meta/x"}})
    assert json.loads(read_config(tmp_path)) == {"data": "~/shards", "tokenizer": "/home/meta/x"}
    line = describe_command_line("study", ["my study.py", "--out", "/home/me/my runs", "--data=/home/me/d"])
    assert "/home/me" not in line
    assert shlex.split(line) == ["deepen", "study", "my study.py", "--out", "~/my runs", "--data=~/d"]
    assert " ~/'my runs' " in line  # a shell replaces ~ only outside quotes


def test_a_request_to_run_has_the_command_line_it_came_from():
    for parse, words in (
        (study.parse, ["quickstart", "--seeds", "1"]),
        (train.parse, ["full", "--model", "nano"]),
    ):
        name = parse.__module__.rpartition(".")[2]
        assert parse(words).command_line == f"deepen {name} {' '.join(words)}"


def test_a_folder_without_a_study_has_no_definition(tmp_path: Path):
    assert read_config(tmp_path) == ""
    (tmp_path / "study.json").write_text("{")
    assert read_config(tmp_path) == ""
