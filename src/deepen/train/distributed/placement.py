"""Placements of many processes: how they hold one model and divide its batches.

- `Replicated` (DDP): every process holds the full model, and gradients are averaged.
- `Sharded` (FSDP2): every process holds a shard of every weight, gradient and moment.

A state of lazy tensors (`model/lazy.py`) is read by every process that holds shards, each its own rows. Of any
other state, rank 0 has the values and distributes them, one at a time; the others start from its skeleton.
A copy of a sharded model's state is this process's rows (`HeldRows`), which it writes to a file of its own.
"""

import torch

from deepen.train.distributed.processes import World
from deepen.train.distributed.replicated import Replicated
from deepen.train.distributed.sharded import Sharded
from deepen.train.placement import Placement, SingleProcess
from deepen.train.settings import TrainSettings


def make_placement(world: World, device: torch.device, settings: TrainSettings) -> Placement:
    """The placement of this process of a run.

    Args:
        world: the processes, and how they divide the model.
        device: where this process computes.
        settings: settings of a step; precision and `reduce_once` matter where the model is sharded.
    """
    if world.size == 1:
        return SingleProcess(device)
    if world.shards == 1:
        return Replicated(device, world.rank, world.size)
    return Sharded(device, world, settings)
