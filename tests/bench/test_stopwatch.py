"""The clock of a bench: right on a device that computes later, and with an engine that reads its numbers late."""

import time

import pytest
import torch

from deepen.bench.stopwatch import Stopwatch
from deepen.bench.workload import Workload
from deepen.model.config import ModelConfig
from deepen.train.engine import Engine
from deepen.train.progress import Progress
from deepen.train.read_back import LateReadBack
from deepen.train.settings import TrainSettings


class LateDevice:
    """A device that takes 3 s a step, simulated: to queue a step takes no time, to wait takes what is queued."""

    def __init__(self) -> None:
        self.now, self.queued, self.progress, self.logged = 0.0, 0.0, Progress(), list[float]()

    def wait(self) -> None:
        self.now, self.queued = self.now + self.queued, 0.0

    def run(self, until: int, log: object) -> None:
        """Train steps of 32 tokens. The first logged step holds two steps, and the last takes no time."""
        steps = (until - self.progress.tokens) // 32
        self.logged = [6.0, *[3.0] * (steps - 2), 0.0]
        self.now, self.queued = self.now + self.queued + 3.0 * (steps - 1), 3.0
        for seconds in self.logged:
            self.progress = self.progress.advance(tokens=32, flops=1, seconds=seconds)


def test_a_step_takes_what_the_device_computes_whatever_was_queued_and_logged():
    device = LateDevice()
    device.queued = 100.0  # by what ran before
    stopwatch = Stopwatch(device.wait, lambda: device.now)
    assert stopwatch.step_seconds(device, 2 * 32) == 3.0  # type: ignore[arg-type]
    assert stopwatch.step_seconds(device, 10 * 32) == 3.0  # type: ignore[arg-type]
    assert min(device.logged) == 0.0


@pytest.mark.parametrize("reads_late", [False, True])
def test_the_seconds_of_a_turn_hold_all_its_steps(model: ModelConfig, reads_late: bool):
    """A turn takes at least what the engine logs in it, and at most what passes around it."""

    class Late(LateReadBack):
        """As on a GPU."""

    workload = Workload(
        model=model, context=16, batch_tokens=32, settings=TrainSettings(), device=torch.device("cpu")
    )
    engine: Engine = workload.full_training()
    if reads_late:
        engine._read_back = Late
    workload.stopwatch.step_seconds(engine, 32)
    logged, began = engine.progress.seconds, time.perf_counter()
    seconds = workload.stopwatch.step_seconds(engine, 3 * 32)
    assert engine.progress.seconds - logged <= 2 * seconds <= time.perf_counter() - began
