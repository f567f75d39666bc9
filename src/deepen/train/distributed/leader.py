"""The engine of the process that leads: what it is asked for, it tells the others to do with it."""

from collections.abc import Callable

import torch
from torch import Tensor

from deepen.train.distributed.processes import ALONE, Link
from deepen.train.engine import Engine, Log
from deepen.train.health import TrainingError
from deepen.train.state import TrainState


class LeadingEngine(Engine):
    """An engine whose every method that takes all processes is a command to the others first.

    They have an ordinary Engine each, begun from the same state, and call the same method of it.
    """

    def check_initialization(self) -> None:
        """As `Engine.check_initialization`; where the model is divided, on a whole one in the CPU's memory."""
        if not self._world.shard:
            super().check_initialization()
            return
        cpu = torch.device("cpu")
        Engine(
            self._before, self._segment, self._config, self._batches, self._settings, cpu, ALONE
        ).check_initialization()

    def run(self, until: int, log: Log, stop: Callable[[], bool] = lambda: False) -> None:
        """As `Engine.run`; whether to stop is asked here alone, and the answer holds for all."""
        with self._link.together("run", until, alike=TrainingError):
            super().run(until, log, lambda: self._link.agree(stop()))

    def state(self) -> TrainState:
        """As `Engine.state`; gathered tensor by tensor where the model is divided."""
        if not self._world.shard:
            return super().state()
        with self._link.together("state"):
            return super().state()

    def token_losses(self, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """As `Engine.token_losses`."""
        with self._link.together("token_losses", tokens_bt.cpu(), targets_bt.cpu()):
            return super().token_losses(tokens_bt, targets_bt)

    @property
    def _link(self) -> Link:
        assert self._world.link is not None
        return self._world.link
