"""`benchmarks/first_gpu_hour.sh` runs to its end where there is no GPU, with tiny sizes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "first_gpu_hour.sh"


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True, env=env)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_of_the_first_hour_on_a_gpu_exists(tmp_path: Path):
    done = run_script("--dry-run", "--out", str(tmp_path / "out"))
    *steps, last = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    assert [line for line in steps if " ok, " not in line] == [] and len(steps) > 12, done.stdout
    assert done.returncode == 0 and last.startswith(f"{len(steps)} steps, 0 of them not ok")
    assert len(list((tmp_path / "out").glob("[0-9][0-9]-*.log"))) == len(steps)


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
