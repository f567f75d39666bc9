"""The channel between rank 0 and its followers: commands and flags, in order.

It is a separate process group on the CPU, so that control never waits in a GPU's queue.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from deepen.train.distributed.commands import Command
from deepen.train.distributed.failure import FailureNotes, ProcessLostError
from deepen.train.distributed.saving import SaveNotes

COMMAND_TIMEOUT = timedelta(days=7)
"""How long followers wait for the next command: what rank 0 does alone, such as saving, may take long."""


class ControlChannel:
    """Sends commands and flags from rank 0 and receives them on the others.

    Attributes:
        notes: the notes through which processes learn of each other's failures.
        saves: the notes about saves of sharded states.
        is_idle: whether no command is being carried out, so that all processes are at the same point.
    """

    def __init__(self, notes: FailureNotes, saves: SaveNotes) -> None:
        self.notes, self.saves, self.is_idle = notes, saves, True
        self._group = dist.new_group(backend="gloo", timeout=COMMAND_TIMEOUT)

    def send(self, command: Command) -> None:
        """On rank 0: send a command to the others."""
        dist.broadcast_object_list([command], 0, group=self._group, device=torch.device("cpu"))

    def receive(self) -> Command:
        """On a follower: wait for the next command."""
        received: list[Command | None] = [None]
        dist.broadcast_object_list(received, 0, group=self._group, device=torch.device("cpu"))
        [command] = received
        assert command is not None
        return command

    def broadcast_flag(self, flag: bool) -> bool:
        """Rank 0's flag, on every process."""
        shared = torch.tensor([flag])
        dist.broadcast(shared, 0, group=self._group)
        return bool(shared.item())

    def close(self) -> None:
        """Leave the process group at the end of the run, together with all other processes."""
        self.notes.close()
        dist.barrier(group=self._group)
        dist.destroy_process_group()

    @contextmanager
    def carry_out(self, command: Command, shared_error: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """On rank 0: send a command; in this context, do this process's part of it.

        Args:
            command: what the others do meanwhile.
            shared_error: an error that every process raises at the same point, so that all are still in step.

        Raises:
            ProcessLostError: another process failed or died. This process's own errors are raised unchanged.
        """
        self.is_idle = False
        try:
            self.send(command)
            yield
        except shared_error:
            self.is_idle = True
            raise
        except RuntimeError as error:
            if lost := self.notes.find_lost():
                raise ProcessLostError(lost) from error
            raise
        self.is_idle = True
