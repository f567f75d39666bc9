"""The scripts in benchmarks/ run with small arguments, and each begins with its command."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = "--width 8 --vocab 64 --context 8 --batch-tokens 16 --threads 1"
ARGUMENTS = {
    "coordinate_check": "--width 8 --depths 1 2 --seeds 1",
    "engine_overhead": f"{SMALL} --steps 8",
    "first_call": "1",
    "gpu_step": "time --model pico --precision fp32 --batch-tokens 128",
    "grow_time": "--gb 0.01 --turns 1",
    "growth_in_memory": "--model nano --turns 1",
    "plan_time": "",
    "prepare_time": "--megabytes 5 --workers 1 --turns 1 --tokenizer byte",
    "saving_time": "--seconds 1",
    "schedule_simulation": "--arms 5 --devices 2",
    "small_shapes": f"--against {BENCHMARKS.parent / 'src'} --family gpt2 --width 16 --depth 1 --vocab 64 "
    "--batch-tokens 512 --turns 2 --turn-tokens 512",
    "step_profile": f"{SMALL} --steps 1",
    "task_scoring": "--model nano --vocab 512 --examples 2",
    "step_time": f"{SMALL} --steps 8",
    "verdict_coverage": "--studies 2 --seeds 2",
    "weak_scaling": "--models llama-7b --devices 8 --growth-devices 16",
}
HELPERS = ("sizes", "weak_scaling_step")
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem not in HELPERS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_begins_with_its_command(script: str):
    lines = (ast.get_docstring(ast.parse((BENCHMARKS / f"{script}.py").read_text())) or "").splitlines()
    assert lines[0].endswith(".") and lines[2].strip().startswith(f"python benchmarks/{script}.py")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_runs(script: str):
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *ARGUMENTS[script].split()]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0 and done.stdout, done.stderr
