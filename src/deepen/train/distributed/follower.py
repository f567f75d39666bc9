"""The followers: each carries out rank 0's commands on its share of the data and the model."""

from contextlib import suppress
from dataclasses import replace

import torch

from deepen.train.device import pick_device, release_memory
from deepen.train.distributed.commands import Begin, CheckInitialization, CopyShare, Quit, ScoreTokens, TrainUntil
from deepen.train.distributed.control import ControlChannel
from deepen.train.distributed.leader import build_engine
from deepen.train.distributed.placement import make_placement
from deepen.train.distributed.processes import World
from deepen.train.engine import Engine
from deepen.train.errors import TrainingError
from deepen.train.progress import Progress


def follow(world: World) -> int:
    """Carry out rank 0's commands until `Quit`; returns its exit status."""
    control = world.control
    assert control is not None
    engine: Engine | None = None
    while True:
        command = control.receive()
        if isinstance(command, Quit):
            control.close()
            return command.status
        if isinstance(command, Begin):
            engine = None  # so that memory never holds two
            release_memory(pick_device())
            engine = _begin(command, world)
            continue
        assert engine is not None, "a segment begins first"
        match command:
            case TrainUntil(tokens):
                _train(engine, tokens, control)
            case CheckInitialization():
                with suppress(TrainingError):  # every process raises it, and rank 0 reports it
                    engine.check_initialization()
            case CopyShare(number):
                control.saves.write_on_request(number, engine.state())
            case ScoreTokens(tokens_bt, targets_bt, branches_bt):
                engine.token_scores(tokens_bt, targets_bt, branches_bt)


def _begin(command: Begin, world: World) -> Engine:
    torch.set_num_threads(command.threads)
    world = replace(world, shard=command.shard, shard_group=command.shard_group)
    placement = make_placement(world, pick_device(), command.settings)
    return build_engine(command, placement)


def _train(engine: Engine, until: int, control: ControlChannel) -> None:
    """Train until rank 0's flag. A TrainingError ends the run on every process, and rank 0 reports it."""
    try:
        engine.run(until, _discard, lambda: control.broadcast_flag(False))
    except TrainingError:
        return


def _discard(progress: Progress, measured: dict[str, float]) -> None:
    """Only rank 0 writes the log."""
