"""`first_gpu_hour.sh` runs to its end without a GPU, with tiny sizes; its requests for a GPU are right."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from deepen.cli.requests.parser import RequestError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "first_gpu_hour.sh"


def run_script(*arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": python, "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env=env)


@pytest.mark.slow
def test_every_command_of_the_first_hour_on_a_gpu_exists(tmp_path: Path):
    done = run_script("--dry-run", "--out", str(tmp_path / "out"))
    *steps, last = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert [line for line in steps if " ok, " not in line] == [] and len(steps) > 12, done.stdout
    assert done.returncode == 0 and last.startswith(f"{len(steps)} steps, 0 of them not ok")
    assert len(list((tmp_path / "out").glob("[0-9][0-9]-*.log"))) == len(steps)


@pytest.mark.slow
def test_every_command_for_a_gpu_is_a_right_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The script runs with an interpreter that only notes its arguments, and finds two GPUs."""
    noted, python, data = tmp_path / "commands", tmp_path / "python", tmp_path / "data"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {noted}\necho 2\n')
    python.chmod(0o755)
    tasks = data / "hellaswag.jsonl"
    data.mkdir()
    tasks.touch()
    run_script("--data", str(data), "--hellaswag", str(tasks), "--out", str(tmp_path / "out"), python=str(python))
    commands = [line.split() for line in noted.read_text().splitlines()]
    assert len(commands) > 30
    for words in commands:
        if "deepen" in words:
            name, *argv = words[words.index("deepen") + 1 :]
            parse = import_module(f"deepen.cli.requests.{name}").parse
            several = {"distributed": True} if "torch.distributed.run" in words else {}
            try:
                parse(argv, **several)
            except RequestError as error:
                assert name == "plan" and len(error.problems) == 1 and "does not exist" in error.problems[0], words
        elif words[0].endswith("gpu_step.py"):
            monkeypatch.setattr(sys, "argv", words)
            monkeypatch.syspath_prepend(BENCHMARKS)
            import_module("gpu_step").parse_arguments()
        elif "pytest" in words:
            assert all(Path(word).exists() for word in words if word.startswith("/"))
        else:
            assert words[0] == "-c"


@pytest.mark.slow
def test_steps_without_time_are_skipped(tmp_path: Path):
    done = run_script("--dry-run", "--minutes", "0", "--out", str(tmp_path / "out"))
    *steps, last = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert steps and all("skipped: no time left" in line for line in steps)
    assert done.returncode == 0 and last.startswith(f"{len(steps)} steps")


@pytest.mark.parametrize(
    ("arguments", "why"), ((["--gpu"], "--gpu is unknown"), (["--data"], "--data needs a value"))
)
def test_a_wrong_option_is_one_line(arguments: list[str], why: str, tmp_path: Path):
    done = run_script(*arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and why in done.stderr
