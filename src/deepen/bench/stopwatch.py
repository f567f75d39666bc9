"""A clock for work that a device may still be doing when the functions that queued it have returned."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from deepen.train.device import wait_for
from deepen.train.engine import TrainingEngine


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Measures seconds from the moment when a device has nothing left to do until that moment again.

    Args:
        wait: returns when the device has finished all queued work.
        now: the time in seconds.
    """

    wait: Callable[[], None]
    now: Callable[[], float] = time.perf_counter

    @classmethod
    def for_device(cls, device: torch.device) -> "Stopwatch":
        """A stopwatch for work on a device."""
        return cls(partial(wait_for, device))

    def read(self) -> float:
        """The time at which the device has finished all queued work."""
        self.wait()
        return self.now()

    def step_seconds(self, engine: TrainingEngine, until: int) -> float:
        """Train up to `until` tokens of the run; returns the mean seconds of a step.

        The seconds that an engine logs of a single step depend on when it reads the step's numbers back.
        """
        first, began = engine.progress.step, self.read()
        engine.run(until, _discard)
        return (self.read() - began) / (engine.progress.step - first)


def _discard(progress: object, measured: object) -> None:
    """Keep nothing of a step's log."""
