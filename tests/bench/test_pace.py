"""The pace of trainers, measured in turns."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from deepen.bench.other_steps import BUILDERS, build_trainer
from deepen.bench.other_trainers import OTHER_TRAINERS, OtherTrainer, check_installed
from deepen.bench.pace import divide_steps, measure_paces
from deepen.bench.workload import Workload
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.train.settings import TrainSettings


def make_workload(model: ModelConfig) -> Workload:
    device = torch.device("cpu")
    return Workload(model=model, context=16, batch_tokens=32, settings=TrainSettings(), device=device)


class Recorded:
    """Steps that take given seconds, with a slow first step in each turn; records the turns."""

    def __init__(self, log: list[str], name: str, seconds: list[float]) -> None:
        self.log, self.name, self.seconds = log, name, iter(seconds)

    def __call__(self, count: int) -> list[float]:
        self.log.append(self.name)
        return [100.0, *(next(self.seconds) for _ in range(count - 1))]


def test_paces_are_medians_of_the_steps_that_count_relative_to_the_first_trainer():
    log: list[str] = []
    trainers = {
        "deepen": Recorded(log, "deepen", [2.0, 1.0, 3.0, 2.0, 2.0, 9.0, 1.0]),
        "other": Recorded(log, "other", [4.0] * 7),
    }
    ours, other = measure_paces(trainers, 64, 7)
    assert log == ["deepen", "other"] * 5
    assert (ours.name, ours.tokens_per_second, ours.fastest_tokens_per_second, ours.ratio) == ("deepen", 32, 64, 1)
    assert (other.name, other.tokens_per_second, other.fastest_tokens_per_second) == ("other", 16, 16)
    assert other.ratio == 2


@pytest.mark.parametrize(("steps", "turns"), [(7, 5), (10, 5), (3, 5), (1, 1)])
def test_steps_are_divided_evenly(steps: int, turns: int):
    divided = divide_steps(steps, turns)
    assert len(divided) == turns and sum(divided) == steps and max(divided) - min(divided) <= 1


def test_every_other_trainer_can_be_built():
    assert list(OTHER_TRAINERS) == list(BUILDERS)


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it():
    missing = OtherTrainer(name="missing", modules=("json", "no_such_module"), install="pip install it")
    with pytest.raises(InvalidValueError, match=r"missing needs no_such_module: pip install it") as error:
        missing.check_installed()
    assert error.value.field == "against"
    check_installed(["loop"])


def test_other_trainers_are_known_without_torch():
    code = "import sys; from deepen.bench.other_trainers import OTHER_TRAINERS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs a C++ compiler")
def test_a_plain_loop_takes_steps(model: ModelConfig):
    take_steps = build_trainer("loop", make_workload(replace(model, depth=1)))
    assert len(take_steps(2)) == 2 and min(take_steps(1)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformers", "litgpt"])
def test_a_trainer_of_an_optional_library_takes_steps(name: str, model: ModelConfig):
    if any(importlib.util.find_spec(module) is None for module in OTHER_TRAINERS[name].modules):
        pytest.skip(f"{name} is not installed")
    assert len(build_trainer(name, make_workload(model))(2)) == 2
