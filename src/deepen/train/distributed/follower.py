"""What the processes do that follow rank 0: the same as it, on their share of the data and the model."""

from dataclasses import replace

import torch

from deepen.data.batches import Batches
from deepen.study.run.worker import Job
from deepen.train.device import pick_device
from deepen.train.distributed.processes import World
from deepen.train.engine import Engine
from deepen.train.health import TrainingError
from deepen.train.state import Progress, TrainState


def follow(world: World) -> int:
    """Do what rank 0 tells until it tells to quit; returns the exit code it ends with."""
    assert world.link is not None
    follower = _Follower(world)
    while True:
        command, *arguments = world.link.hear()
        if command == "quit":
            world.link.part()
            return int(arguments[0])
        getattr(follower, command)(*arguments)


class _Follower:
    """An engine like rank 0's, and what it may be told to do; the names are those of the commands."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._engine: Engine | None = None

    def begin(self, job: Job, state: TrainState, shard: bool, threads: int) -> None:
        """Build the engine of a segment from a state without numbers."""
        self._engine = None  # before the next is built, so that memory never holds both
        torch.set_num_threads(threads)
        batches = Batches(job.dataset.tokens("train"), job.window, job.node.seed)
        world = replace(self._world, shard=shard)
        self._engine = Engine(state, job.node.segment, job.model, batches, job.settings, pick_device(), world)

    def run(self, until: int) -> None:
        """Train until rank 0 says stop. Numbers that end its run end this one too, and it tells of them."""
        link = self._world.link
        assert link is not None
        try:
            self.engine.run(until, _no_log, lambda: link.agree(False))
        except TrainingError:
            return

    def state(self) -> None:
        """Give rank 0 this process's part of each tensor."""
        self.engine.state()

    def token_losses(self, tokens_bt: torch.Tensor, targets_bt: torch.Tensor) -> None:
        """Compute the losses of this process's rows."""
        self.engine.token_losses(tokens_bt, targets_bt)

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "a segment is begun first"
        return self._engine


def _no_log(progress: Progress, measured: dict[str, float]) -> None:
    """Rank 0 alone writes."""
