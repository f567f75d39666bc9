"""The leader: the engine of rank 0, which sends the followers a command for whatever takes all processes."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from deepen.data.batches import Batches
from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.train.checkpoint.shard_files import find_share
from deepen.train.device import pick_device, release_memory
from deepen.train.distributed.commands import Begin, CheckInitialization, CopyShare, ScoreTokens, TrainUntil
from deepen.train.distributed.control import ControlChannel
from deepen.train.distributed.placement import make_placement
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.engine import Engine, Log, TrainingEngine
from deepen.train.errors import TrainingError
from deepen.train.fit import fit_settings
from deepen.train.gpu_memory import own_free_bytes
from deepen.train.placement import Placement
from deepen.train.progress import Progress
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState


def begin_engine(
    state: TrainState,
    segment: Segment,
    *,
    model: ModelConfig,
    settings: TrainSettings,
    dataset: Dataset,
    window: int,
    first_token: int = 0,
    world: World = ONE_PROCESS,
    device: torch.device | None = None,
) -> TrainingEngine:
    """Build the engine of a segment, on every process if there are many.

    Args:
        state: the state that training continues from, after `begin_segment`.
        segment: what to train.
        model: the model at its final depth.
        settings: optimizer, precision and other settings of a step.
        dataset: the data.
        window: the largest context of the run, in tokens.
        first_token: where in the order of windows the run begins, because an earlier run has read what is before.
        world: the processes that train together, led by this one.
        device: where this process computes; by default a GPU if there is one.
    """
    device = device or pick_device()
    release_memory(device)  # of the previous segment's engine
    begin = Begin(
        state=state,
        segment=segment,
        model=model,
        settings=fit_settings(settings, segment, model, own_free_bytes(device), world.division),
        dataset=dataset,
        window=window,
        first_token=first_token,
        shard=world.shard,
        shard_group=world.shard_group,
        threads=torch.get_num_threads(),
    )
    placement = make_placement(world, device, begin.settings)
    if world.control is None:
        return build_engine(begin, placement)
    with world.control.carry_out(replace(begin, state=state.skeleton())):
        return Leader(build_engine(begin, placement), world.control, shard=world.shard)


def build_engine(begin: Begin, placement: Placement) -> Engine:
    """This process's own engine of a segment."""
    batches = Batches(begin.dataset.tokens("train"), begin.window, begin.state.seed, begin.first_token)
    return Engine(begin.state, begin.segment, begin.model, batches, begin.settings, placement)


class Leader:
    """A training engine that sends a command for each method that takes all processes, and does its own part.

    Args:
        engine: this process's own.
        control: the channel to the other processes.
        shard: whether the model is sharded.
    """

    def __init__(self, engine: Engine, control: ControlChannel, *, shard: bool) -> None:
        self.engine, self._control, self._shard = engine, control, shard

    @property
    def progress(self) -> Progress:
        """Tokens, steps, FLOPs and seconds of the run so far."""
        return self.engine.progress

    @property
    def micro_batch_tokens(self) -> int:
        """As `Engine.micro_batch_tokens`, on each process."""
        return self.engine.micro_batch_tokens

    def check_initialization(self) -> None:
        """As `Engine.check_initialization`; takes all processes if the model is sharded."""
        together = self._control.carry_out(CheckInitialization(), shared_error=TrainingError)
        with together if self._shard else nullcontext():
            self.engine.check_initialization()

    def run(self, until: int, log: Log, stop: Callable[[], bool] = lambda: False) -> None:
        """As `Engine.run`; only this process decides whether to stop, for all of them."""
        with self._control.carry_out(TrainUntil(until), shared_error=TrainingError):
            self.engine.run(until, log, lambda: self._control.broadcast_flag(stop()))

    def state(self) -> TrainState:
        """As `Engine.state`; if the model is sharded, this process's share, with the others that hold the rest."""
        if not self._shard:
            return self.engine.state()
        number = self._control.saves.next_number()
        with self._control.carry_out(CopyShare(number)):
            share = self.engine.state()
        return replace(share, others=self._control.saves.others(number, find_share(share).count))

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None) -> Tensor:
        """As `Engine.token_scores`; every process computes a share of the sequences."""
        branches = None if branches_bt is None else branches_bt.cpu()
        with self._control.carry_out(ScoreTokens(tokens_bt.cpu(), targets_bt.cpu(), branches)):
            return self.engine.token_scores(tokens_bt, targets_bt, branches_bt)
