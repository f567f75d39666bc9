"""The pace of trainers, measured in turns."""

import importlib.util
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar
from weakref import WeakSet

import pytest
import torch

from deepen.bench.other_steps import BUILDERS, build_trainer
from deepen.bench.other_trainers import OTHER_TRAINERS, OtherTrainer, check_installed
from deepen.bench.pace import divide_steps, measure_paces
from deepen.bench.result import Race
from deepen.bench.workload import Workload
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.train.settings import TrainSettings


def make_workload(model: ModelConfig) -> Workload:
    device, settings = torch.device("cpu"), TrainSettings(micro_batch_tokens=32)
    return Workload(model=model, context=16, batch_tokens=64, settings=settings, device=device)


class Recorded:
    """Steps that take given seconds; records the turns."""

    def __init__(self, log: list[str], name: str, seconds: list[float]) -> None:
        self.log, self.name, self.seconds = log, name, iter(seconds)

    def __call__(self, warm_up: int, count: int) -> float:
        assert warm_up == 3
        self.log.append(self.name)
        return statistics.mean(next(self.seconds) for _ in range(count))


def test_paces_are_medians_of_the_turns_relative_to_the_first_trainer():
    log: list[str] = []
    builders = {
        "deepen": lambda: Recorded(log, "deepen", [2.0, 1.0, 3.0, 2.0, 1.0, 9.0, 1.0]),  # turns 2, 2, 2, 5, 1
        "other": lambda: Recorded(log, "other", [4.0] * 7),
    }
    race = measure_paces(builders, 64, 7, warm_up=3)
    ours, other = race.paces
    assert log == ["deepen", "other"] * 5 and race.failures == {}
    assert (ours.name, ours.tokens_per_second, ours.fastest_tokens_per_second, ours.ratio) == ("deepen", 32, 64, 1)
    assert (other.name, other.tokens_per_second, other.fastest_tokens_per_second) == ("other", 16, 16)
    assert other.ratio == 2


TOO_LARGE = "out of GPU memory, of which smaller micro-batches need less"


class OutOfMemory:
    """Steps that run out of memory after two turns; `alive` while one of them exists."""

    alive: ClassVar = WeakSet["OutOfMemory"]()

    def __init__(self) -> None:
        self.turns, self.cycle = 0, self
        self.alive.add(self)

    def __call__(self, warm_up: int, count: int) -> float:
        self.turns += 1
        if self.turns > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 52.70 GiB.\nGPU 0 has ...")
        return 1.0


def test_a_trainer_that_fails_costs_only_itself_and_leaves_no_memory_behind():
    log: list[str] = []

    def build_broken() -> Recorded:
        raise ValueError("head size 20 is not supported\nby this library")

    def take_steps(warm_up: int, count: int) -> float:
        log.append(f"{len(OutOfMemory.alive)} others")
        return 2.0

    builders = {"deepen": lambda: take_steps, "broken": build_broken, "large": OutOfMemory}
    race = measure_paces(builders, 64, 5)
    assert [pace.name for pace in race.paces] == ["deepen"] and race.paces[0].tokens_per_second == 32
    assert race.failures == {"broken": "ValueError: head size 20 is not supported", "large": TOO_LARGE}
    assert log == ["1 others"] * 3 + ["0 others"] * 2


def test_without_our_own_pace_there_is_nothing_to_compare_with():
    builders = {"deepen": OutOfMemory, "other": lambda: Recorded([], "other", [1.0] * 5)}
    assert measure_paces(builders, 64, 5, warm_up=3) == Race(failures={"deepen": TOO_LARGE})


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
    assert take_steps(1, 2) > 0 and take_steps(0, 1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformers", "litgpt"])
def test_a_trainer_of_an_optional_library_takes_steps(name: str, model: ModelConfig):
    if any(importlib.util.find_spec(module) is None for module in OTHER_TRAINERS[name].modules):
        pytest.skip(f"{name} is not installed")
    take_steps = build_trainer(name, make_workload(model))
    assert take_steps(1, 2) > 0 and take_steps(0, 1) > 0
