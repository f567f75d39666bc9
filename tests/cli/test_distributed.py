"""Commands in many processes, as torchrun starts them: what ends one ends all, with one line and one code."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import deepen.train.engine
from deepen.__main__ import start
from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.model.decoder import Decoder
from deepen.train.checkpoint.state_folder import load_state
from deepen.train.distributed.commands import Command, Quit
from deepen.train.distributed.control import ControlChannel
from deepen.train.distributed.processes import World
from deepen.train.read_back import LateReadBack
from processes import wait_until
from ranks import Work, run_command
from workers import every_step_is_kept

pytestmark = pytest.mark.slow


def train_arguments(out: Path, dataset: Dataset) -> list[str]:
    run = ["train", "full", "--context", "16", "--batch-tokens", "64", "--steps", "6", "--rate", "constant"]
    return [*run, "--data", str(dataset.folder), "--out", str(out), "--shard"]


def at_third_forward(act: Callable[[], None]) -> None:
    seen = 0

    def before(module: torch.nn.Module, _: Any) -> None:
        nonlocal seen
        seen += isinstance(module, Decoder) and torch.is_grad_enabled()
        if seen == 3:
            act()

    torch.nn.modules.module.register_module_forward_pre_hook(before)


def run_out_of_memory() -> None:
    def end() -> None:
        raise MemoryError("no room for activations")

    at_third_forward(end)


def die() -> None:
    at_third_forward(lambda: os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.parametrize(
    ("rank", "failure", "codes", "message"),
    [
        (1, run_out_of_memory, [1, 1], "the run failed: process 1 of 2 failed: no room for activations; "),
        (
            1,
            die,
            [1, -signal.SIGKILL],
            "the run failed: process 1 of 2 died (killed, or out of memory?); ",
        ),
        (0, run_out_of_memory, [1, 1], "the run failed: out of memory in "),
        (0, die, [-signal.SIGKILL, 1], ""),
    ],
    ids=["a follower fails", "a follower dies", "the leader fails", "the leader dies"],
)
def test_when_one_process_fails_all_end_with_one_line(
    rank: int, failure: Work, codes: list[int], message: str, dataset: Dataset, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):  # fmt: skip
    assert run_command(2, train_arguments(tmp_path / "run", dataset), {rank: failure}) == codes
    errors = [line for line in capfd.readouterr().err.splitlines() if "error:" in line or "Trace" in line]
    assert [line.startswith(f"error: {message}") for line in errors] == [True] * bool(message), errors


def die_at_the_end() -> None:
    real = ControlChannel.receive

    def receive(control: ControlChannel) -> Command:
        command = real(control)
        if isinstance(command, Quit):
            os.kill(os.getpid(), signal.SIGKILL)
        return command

    ControlChannel.receive = receive  # type: ignore[method-assign]


def test_a_process_that_dies_when_all_is_done_changes_nothing(
    dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    codes = run_command(2, train_arguments(tmp_path / "run", dataset), {1: die_at_the_end})
    assert codes == [0, -signal.SIGKILL]
    errors = capfd.readouterr().err
    assert "error:" not in errors and "Traceback" not in errors, errors
    assert every_step_is_kept(tmp_path / "run")


def receive_sigterm() -> None:
    at_third_forward(lambda: os.kill(os.getpid(), signal.SIGTERM))


def receive_sigusr1() -> None:
    at_third_forward(lambda: os.kill(os.getpid(), signal.SIGUSR1))


@pytest.mark.parametrize("receive", [receive_sigterm, receive_sigusr1])
def test_a_signal_that_reaches_one_process_stops_all_of_them(
    receive: Work, dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    endless = train_arguments(tmp_path / "run", dataset)
    endless[endless.index("--steps") + 1] = "100000"
    assert run_command(2, endless, {1: receive}) == [130, 130]
    printed = capfd.readouterr().err
    assert printed.count("stopping: ") == 1 and "the same command continues" in printed
    (state,) = (tmp_path / "run").glob("segments/*/state")
    assert load_state(state).progress.step > 2


def test_torchrun_passes_on_the_warning_of_a_cluster(dataset: Dataset, tmp_path: Path):
    out = tmp_path / "run"
    endless = train_arguments(out, dataset)
    endless[endless.index("--steps") + 1] = "100000"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    torchrun += ["--standalone", "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*torchrun, "-m", "deepen", *endless]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        wait_until(lambda: any(log.stat().st_size for log in out.glob("segments/*/metrics.jsonl")), process)
        process.send_signal(signal.SIGUSR1)
        _, errors = process.communicate()
    assert errors.count("stopping: ") == 1 and "the same command continues" in errors, errors
    assert every_step_is_kept(out)


def read_back_late() -> None:
    """As on a GPU, where reading at once would wait for the device."""
    deepen.train.engine.choose_read_back = lambda placement, settings: LateReadBack


def test_numbers_that_are_not_finite_end_all_processes_where_they_are_read_late(
    dataset: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    breaking = [*train_arguments(tmp_path / "one", dataset)[:-1], "--lr", "1e30"]
    assert main(breaking) == 1
    message, *_ = capfd.readouterr().err.splitlines()[-1].partition("; the last complete state is ")
    assert message.startswith(
        "error: the run failed: loss nan, gradient norm nan at step 2 (64 tokens, full depth)"
    )
    breaking[breaking.index("--out") + 1] = str(tmp_path / "many")
    assert run_command(2, breaking, {0: read_back_late, 1: read_back_late}) == [1, 1]
    (line,) = (each for each in capfd.readouterr().err.splitlines() if "error:" in each)
    assert line.startswith(f"{message}; the last complete state is ")


def test_requests_for_one_process_are_refused_under_torchrun(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert main(["study", "quickstart", "--jobs", "2"], World(size=2)) == 2
    assert capsys.readouterr().err.startswith("error: --jobs: under torchrun")
    for size, rank, command, message in (
        ("2", "0", "plan full", "error: deepen plan runs in one process: leave out torchrun"),
        ("2", "1", "plan full", ""),
        ("two", "0", "train full", "error: environment variable WORLD_SIZE is 'two'"),
        ("2", "", "train full", "error: environment variable RANK is ''"),
        ("2", "0", "train full", "error: environment variable MASTER_PORT is ''"),
    ):
        monkeypatch.setenv("WORLD_SIZE", size)
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setattr(sys, "argv", ["deepen", *command.split()])
        assert start() == 2
        printed = capsys.readouterr().err
        assert printed.startswith(message) and len(printed.splitlines()) == bool(message)


@pytest.mark.parametrize("size", ["", "0", "1", "2", "two"])
def test_variables_that_a_launcher_left_behind_do_not_hinder_a_command_of_one_process(
    size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Clusters and containers set WORLD_SIZE for everything that runs in them."""
    monkeypatch.setenv("WORLD_SIZE", size)
    for command in ("--help", "train --help", "--version", "plan full", "recipes"):
        monkeypatch.setattr(sys, "argv", ["deepen", *command.split()])
        assert start() == 0 and capsys.readouterr().err == ""
    monkeypatch.chdir(tmp_path)
    if size != "two":
        monkeypatch.setattr(sys, "argv", ["deepen", "train", "full", "--steps", "nine"])
        assert start() == 2
        expected = "error: --steps" if size != "2" else "error: environment variable RANK is ''"
        assert capsys.readouterr().err.startswith(expected)
