"""Signals, and a folder that is in use."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from compare import without_times
from deepen.cli.entry import main
from deepen.data.shards import Dataset
from deepen.study.store.study_folder import Store
from deepen.train.checkpoint.state_folder import load_state
from processes import wait_until
from workers import every_step_is_kept

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


@pytest.fixture
def default_handlers() -> Iterator[None]:
    """Handle signals as a new command does: a test run in a shell's background, or under nohup, ignores some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_ends_the_run_after_the_current_step_and_keeps_it(
    which: signal.Signals,
    undisturbed: Any,
    dataset: Dataset,
    tmp_path: Path,
    default_handlers: None,
    capsys: pytest.CaptureFixture[str],
):
    taken, handler = 0, signal.getsignal(which)

    def raise_in_the_fifth(*_: Any) -> None:
        nonlocal taken
        taken += 1
        if taken == 5:
            signal.raise_signal(which)

    hook = register_optimizer_step_post_hook(raise_in_the_fifth)
    try:
        assert main(arguments(tmp_path / "run", dataset)) == 130
        assert taken == 5
        printed = capsys.readouterr()
        assert "same command continues" in printed.err and "Traceback" not in printed.err
        assert "full" in printed.out and "41 %" in printed.out and "validation loss" in printed.out
        [arm] = results_of(tmp_path / "run")["arms"]
        assert [point["step"] for point in arm["curve"]] == [1, 2, 3, 4, 5]
        assert arm["trained_share"] == 5 / STEPS and arm["marks"] == []
        assert printed.err.count("stopping: this step is finished and saved first; Ctrl-C again ends now\n") == 1
        assert signal.getsignal(which) is handler
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


INTERRUPTED_IMPORT = """
import signal, sys
from deepen.__main__ import start

class Interrupting:
    def find_spec(self, name, *_):
        if name == "deepen.cli.entry":
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where pytest runs in a shell's background
sys.meta_path.insert(0, Interrupting())
sys.exit(start())
"""


def test_ctrl_c_while_a_command_is_imported_prints_nothing():
    left = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT, "recipes"], capture_output=True, check=False)
    assert (left.returncode, left.stdout, left.stderr) == (-signal.SIGINT, b"", b"")


IN_STEP_5 = """
import ctypes, fcntl, itertools, os, signal, sys, termios, time
from torch.optim.optimizer import register_optimizer_step_pre_hook
from deepen.__main__ import start

def wait_in_one_operation():
    '''Wait in C, as a large model's backward pass may for minutes.'''
    mutex = ctypes.create_string_buffer(64)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
    print("in step 5", file=sys.stderr, flush=True)
    ctypes.CDLL(None).pthread_mutex_lock(mutex)

def receive_four_signals():
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        signal.raise_signal(number)

def wait_until_terminal_closes():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        while True:
            os.write(2, b"in step 5")
            time.sleep(0.01)
    except OSError:
        pass

act, taken = locals()[sys.argv.pop(1)], itertools.count(1)

def act_in_fifth(*_):
    if next(taken) == 5:
        act()

register_optimizer_step_pre_hook(act_in_fifth)
sys.exit(start())
"""


def start_with(act: str, arguments: list[str], **options: Any) -> "subprocess.Popen[str]":
    """Start a command that does something in its fifth step."""
    command = [sys.executable, "-c", IN_STEP_5, act, *arguments]
    return subprocess.Popen(command, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, **options)


def test_signals_are_noticed_at_once_in_the_middle_of_a_long_operation(
    undisturbed: Any, dataset: Dataset, tmp_path: Path
):
    run = arguments(tmp_path / "run", dataset)
    with start_with("wait_in_one_operation", run, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert "in step 5\n" in process.stderr  # reads on until there
        process.send_signal(signal.SIGINT)
        assert next(process.stderr).startswith("stopping: this step is finished and saved first")
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert main(run) == 0
    assert results_of(tmp_path / "run") == undisturbed


def test_a_closing_terminal_or_a_cluster_that_sends_several_signals_loses_nothing(
    undisturbed: Any, dataset: Dataset, tmp_path: Path, default_handlers: None
):
    run = arguments(tmp_path / "run", dataset)
    with start_with("receive_four_signals", run, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate()
    assert process.returncode == 130 and errors.count("stopping: ") == 1, errors
    (state,) = (tmp_path / "run").glob("segments/*/state")
    assert load_state(state).progress.step == 5
    assert main(run) == 0
    assert results_of(tmp_path / "run") == undisturbed


def test_what_nohup_ignores_and_another_library_handles_is_left_alone(
    undisturbed: Any, dataset: Dataset, tmp_path: Path, default_handlers: None
):
    """As in a job of submitit that calls `deepen.run`: at SIGUSR1, submitit submits the job again."""
    received = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))

    def raise_both(*_: Any) -> None:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGUSR1)

    hook = register_optimizer_step_post_hook(raise_both)
    try:
        assert main(arguments(tmp_path / "run", dataset)) == 0
    finally:
        hook.remove()
    assert received == [signal.SIGUSR1] * STEPS
    assert results_of(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_a_command_and_its_workers_is_acknowledged_once_and_every_worker_saves(
    which: signal.Signals, dataset: Dataset, tmp_path: Path, default_handlers: None
):
    """A terminal sends its signals to all processes of a command."""
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(
        "from deepen import Arm, Constant, Evaluation, ModelConfig, Study\n"
        "model = ModelConfig(name='test', depth=2, width=8, heads=2, context=16, vocab=512)\n"
        "arms = (Arm(name='full', recipe='full'), Arm(name='small', recipe='small', options={'start_depth': 1}))\n"
        "evaluation = Evaluation(every_tokens=320, validation_tokens=64)\n"
        "study = Study(name='mine', model=model, tokens=3_200_000, batch_tokens=32, context=16, arms=arms,\n"
        f"    evaluation=evaluation, rate=Constant(peak=1e-3), data={str(dataset.folder)!r})\n"
    )
    command = [sys.executable, "-m", "deepen", "study", str(file), "--jobs", "2", "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as run:
        wait_until(lambda: len(list(out.glob("segments/*/evals.jsonl"))) == 2, run)
        os.killpg(run.pid, which)
        _, errors = run.communicate()
    assert run.returncode == 130 and errors.count("stopping: ") == 1, errors
    assert "lost" not in errors and "resource_tracker" not in errors and "Trace" not in errors
    assert every_step_is_kept(out)


@pytest.mark.parametrize("under_nohup", [True, False])
def test_a_terminal_that_closes_stops_training_by_its_signal_only(
    under_nohup: bool, undisturbed: Any, dataset: Dataset, tmp_path: Path, default_handlers: None
):
    """Under nohup, all that is printed afterwards fails with EIO."""
    if under_nohup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run, (screen, terminal) = arguments(tmp_path / "run", dataset), pty.openpty()
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    process = start_with("wait_until_terminal_closes", run, start_new_session=True, **streams)
    os.close(terminal)
    seen = b""
    while b"in step 5" not in seen:
        seen += os.read(screen, 1024)
    os.close(screen)
    assert process.wait() == (0 if under_nohup else 130)
    assert not (tmp_path / "run" / "lock.holder").exists()  # it ended in order
    assert main(run) == 0
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


@pytest.mark.parametrize(("command", "how"), [("train", "continues"), ("bench", "begins anew")])
def test_a_command_that_ends_at_once_says_whether_it_would_continue(command: str, how: str):
    code = f"from deepen.cli.entry import leave; leave({command!r}, 2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == f"stopped; what was complete is kept: the same command {how}\n"
