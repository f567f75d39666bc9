"""Runs that fail: exit code 1, one line with where, why, what is kept and how to continue; then they continue."""

import errno
import json
import os
from pathlib import Path

import pytest

from deepen.api import choose_threads
from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.study.define.executor import ExecutorChoice
from deepen.study.store.study_folder import Store

SHORT = ["train", "full", "--context", "16", "--batch-tokens", "32", "--steps", "48", "--rate", "constant"]


def run(out: Path, data: Dataset, *arguments: str) -> int:
    return main([*SHORT, *arguments, "--data", str(data.folder), "--out", str(out)])


def test_a_folder_whose_states_cannot_be_listed_is_reported_in_one_line(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
):
    assert run(Path("/".join(["a" * 200] * 30)), dataset) == 1  # longer than any path may be
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot read or write: {os.strerror(errno.ENAMETOOLONG)} (")
    assert "use a shorter path" in line and line.endswith("the same command continues")


@pytest.mark.slow
def test_a_spike_stops_a_run_and_warn_continues_where_it_stopped(
    tmp_path: Path, noisy_data: Dataset, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    for _ in range(2):  # the same command stops at the same step
        assert run(out, noisy_data, "--on-spike", "stop") == 1
        error = capsys.readouterr().err.splitlines()[-1]
        for words in (
            "spike",
            "step 41 (1,280 tokens, full depth)",
            "the last complete state is",
            "--on-spike warn",
        ):
            assert words in error, error
    assert run(out, noisy_data, "--on-spike", "warn") == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "step 41 " in warnings[0]
    logs = [log.read_text().splitlines() for log in out.glob("segments/*/metrics.jsonl")]
    spikes = {line["step"]: "spike" in line for log in logs for line in map(json.loads, log)}
    assert sorted(spikes) == list(range(1, 49)) and len(spikes) == sum(map(len, logs))
    assert [step for step, is_spike in spikes.items() if is_spike] == [41]
    assert run(out, noisy_data, "--on-spike", "skip") == 2  # other numbers, another folder
    assert "settings.on_spike was warn" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_ends_the_run_before_the_update(
    tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    assert run(out, dataset, "--lr", "1e30") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    for words in ("error: the run failed: loss", "nothing was updated", "--lr", "the last complete state is"):
        assert words in error, error
    steps = max(
        json.loads(state.read_text())["progress"]["step"] for state in out.glob("segments/*/state/state.json")
    )
    logs = [log.read_text().splitlines() for log in out.glob("segments/*/metrics.jsonl")]
    assert sum(map(len, logs)) == steps > 0 and f"step {steps + 1} " in error


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_a_damaged_study_file_is_named(
    precision: str, tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "study.json").write_text('{"study": {"settings"')
    assert run(tmp_path, dataset, "--precision", precision) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "study.json" in error and error.startswith("error: ")


@pytest.mark.slow
def test_a_study_keeps_its_threads(tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]):
    assert run(tmp_path, dataset, "--threads", "1") == 0
    recorded = json.loads((tmp_path / "study.json").read_text())["threads"]
    assert recorded == 1
    capsys.readouterr()
    assert run(tmp_path, dataset, "--threads", "2") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: --threads is 2, but this study began with 1")
    asked = ExecutorChoice(kind="slurm", threads=recorded + 1)
    with pytest.raises(ValueError, match=f"began with {recorded}"):
        choose_threads(Store(tmp_path), asked)
    assert choose_threads(Store(tmp_path), ExecutorChoice(kind="slurm")) == recorded
