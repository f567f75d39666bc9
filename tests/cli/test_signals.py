"""Signals, and a folder that is in use."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from compare import without_times
from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.study.store.study_folder import Store

pytestmark = pytest.mark.slow

STEPS = 12


def arguments(out: Path, data: Dataset) -> list[str]:
    run = ["train", "full", "--context", "16", "--batch-tokens", "32", "--steps", str(STEPS), "--rate", "constant"]
    return [*run, "--data", str(data.folder), "--out", str(out)]


def results_of(out: Path) -> Any:
    return without_times(json.loads((out / "results.json").read_text()))


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert main(arguments(out, dataset)) == 0
    return results_of(out)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_current_step_and_keeps_it(
    which: signal.Signals,
    undisturbed: Any,
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    taken = 0

    def raise_in_the_fifth(*_: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == 5:
            signal.raise_signal(which)

    hook = register_optimizer_step_post_hook(raise_in_the_fifth)
    try:
        assert main(arguments(tmp_path / "run", dataset)) == 130
        assert taken == 5
        printed = capsys.readouterr().err
        assert "same command continues" in printed and "Traceback" not in printed
        assert main(arguments(tmp_path / "run", dataset)) == 0
        assert taken == STEPS
    finally:
        hook.remove()
    assert results_of(tmp_path / "run") == undisturbed


def test_a_second_signal_ends_the_run_at_once_and_does_no_harm(undisturbed: Any, dataset: Dataset, tmp_path: Path):
    """In the middle of the fifth step; what was not saved is trained again."""
    code = """
import itertools, signal, sys
from torch.optim.optimizer import register_optimizer_step_pre_hook
from deepen.cli.entry import main
taken = itertools.count(1)

def interrupt(*_):
    if next(taken) == 5:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        print("still here")

register_optimizer_step_pre_hook(interrupt)
main(sys.argv[1:])
"""
    command = [sys.executable, "-c", code, *arguments(tmp_path / "run", dataset)]
    left = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert (left.returncode, left.stdout) == (130, ""), left.stderr
    assert main(arguments(tmp_path / "run", dataset)) == 0
    assert results_of(tmp_path / "run") == undisturbed


def test_a_second_command_on_a_folder_names_the_first_and_changes_nothing(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with Store(tmp_path / "run").lock():
        before = sorted(path.name for path in (tmp_path / "run").iterdir())
        assert main(arguments(tmp_path / "run", dataset)) == 2
        printed = capsys.readouterr().err
        assert f"in use by process {os.getpid()}" in printed and printed.count("error: ") == 1
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before
