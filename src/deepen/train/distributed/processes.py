"""The processes that train one model together: their ranks, how they connect, and how rank 0 leads the others.

torchrun starts the same command in every process. Rank 0 runs it as one process would, writes all files but the
others' shards, and decides whatever depends on a clock, a signal or a disk. The others only follow its commands.
For one segment:

    rank 0, the leader                             ranks 1, 2, ... the followers
    begin_engine(...)    sends Begin               build the same engine, without its tensors
    leader.run(until)    sends TrainUntil          train on their rows of each batch; before each step,
                         sends a flag              stop if it is set
    leader.state()       sends CopyShare           copy their shares and write them (only if sharded)
    (the command ends)   sends Quit                end with the same status

Between commands, followers wait in `ControlChannel.receive`. `failure.py` ends all processes when one fails.
"""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from deepen.compute.memory_settings import Division
from deepen.errors import InvalidValueError
from deepen.train.distributed.control import ControlChannel
from deepen.train.distributed.failure import Ending, FailureNotes
from deepen.train.distributed.gpus import check_gpus
from deepen.train.distributed.saving import SaveNotes
from deepen.train.settings import WITHIN_NODE


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """The processes that train one model, as seen from this one.

    Args:
        rank: this process's number; 0 leads.
        size: number of processes.
        local_size: how many of them share this machine.
        shard: shard weights, gradients and moments (FSDP2) rather than replicate them (DDP).
        shard_group: how many processes with consecutive ranks hold one copy of a sharded model (HSDP); 0: all.
        control: the channel between rank 0 and the others; None for a single process.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    shard: bool = False
    shard_group: int = 0
    control: ControlChannel | None = None

    @property
    def division(self) -> Division:
        """How they divide a batch, and perhaps the model."""
        return Division(devices=self.size, sharded=self.shard, shard_group=self.shard_group)

    @property
    def shards(self) -> int:
        """Among how many processes each weight, gradient and moment is divided."""
        return self.division.shards

    @property
    def local_shards(self) -> int:
        """How many of these shares the processes of this machine hold."""
        return min(self.local_size, self.shards)


ONE_PROCESS = World()
"""The default: this process trains alone."""


def divide_model(world: World, shard: bool | str) -> World:
    """The processes of a run with the choice of how they divide its model.

    Args:
        world: the processes.
        shard: False replicates the model (DDP), True divides it among all processes (FSDP2), and "node" among
            those of each machine, with a copy on every machine (HSDP).

    Raises:
        InvalidValueError: another choice, or the machines cannot hold a copy each.
    """
    if isinstance(shard, bool):
        return replace(world, shard=shard, shard_group=0)
    if shard != WITHIN_NODE:
        raise InvalidValueError(
            f"is {shard!r}: it must be true, false or {WITHIN_NODE}",
            field="shard",
            value=shard,
            allowed=(WITHIN_NODE,),
        )
    if world.local_size < 2:
        what = "this machine runs one process"
    elif world.size % world.local_size:
        what = f"this machine runs {world.local_size} of {world.size} processes, which is not an equal share"
    else:
        return replace(world, shard=True, shard_group=world.local_size)
    raise InvalidValueError(
        f"is {WITHIN_NODE}, but {what}",
        field="shard",
        value=shard,
        remedy="start as many processes on each machine, or divide the model among all (`shard` alone)",
    )


def count_processes(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes torchrun, or another launcher that sets its variables, started for this run.

    For one process, the other variables do not matter: clusters and containers set some of them for everything.

    Raises:
        InvalidValueError: there are several, and a variable is missing or not a number.
    """
    size = _read_number(environment, "WORLD_SIZE") if environment.get("WORLD_SIZE") else 1
    if size <= 1:
        return 1
    rank = _read_number(environment, "RANK")
    if rank >= size:
        raise InvalidValueError(f"environment variable RANK is {rank}, of {size} processes")
    return size


def _read_number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    text = environment.get(name, default)
    if not text.isdecimal():
        raise _wrong_variable(name, text)
    return int(text)


def _wrong_variable(name: str, text: str) -> InvalidValueError:
    return InvalidValueError(
        f"environment variable {name} is {text!r}",
        remedy="start the processes with torchrun, or unset WORLD_SIZE to train in one",
    )


def join(end_now: Callable[[Ending], None]) -> World:
    """Connect to the other processes by torchrun's variables: with NCCL and a GPU each, or gloo without GPUs.

    Args:
        end_now: called in a thread when this process must end but may hang; it does not return.

    Raises:
        InvalidValueError: a variable is missing or not a number.
        UnusableGPUsError: two processes see the same GPU, or only some processes have one.
        DistError: the other processes cannot be reached.
    """
    local_rank = _read_number(os.environ, "LOCAL_RANK", "0")
    local_size = _read_number(os.environ, "LOCAL_WORLD_SIZE", "1")
    _read_number(os.environ, "MASTER_PORT")
    if not os.environ.get("MASTER_ADDR"):
        raise _wrong_variable("MASTER_ADDR", "")
    device = None
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    store, rank, size = next(rendezvous("env://"))
    identifier = "" if device is None else _identify(device)
    check_gpus(PrefixStore("gpus", store), rank, size, identifier, torch.cuda.device_count())
    dist.init_process_group(
        "gloo" if device is None else "nccl",
        store=PrefixStore("training", store),
        rank=rank,
        world_size=size,
        device_id=device,
    )
    notes = FailureNotes(rank, size, PrefixStore("notes", store), end_now)
    control = ControlChannel(notes, SaveNotes(PrefixStore("saves", store), notes))
    notes.watch()
    return World(rank=rank, size=size, local_size=local_size, control=control)


def _identify(gpu: torch.device) -> str:
    """What identifies a GPU on all machines; a part of one (MIG) has an identifier of its own."""
    return f"{socket.gethostname()} {torch.cuda.get_device_properties(gpu).uuid}"


def is_connection_error(error: Exception) -> bool:
    """Whether an error only means that the connection to another process was lost."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error)
