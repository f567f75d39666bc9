"""The processes that train one model together: who is who, how one leads, and how all end when one fails.

Rank 0 leads. It runs the ordinary command, is the only one to write, and decides all that depends on a clock, a
signal or a disk; the others wait for what it tells them (`Link.tell`, `Link.hear`) and do it in step with it.
Nothing here reads the network or a GPU: commands and flags travel on the CPU, beside the training's own traffic.

How all end: whoever fails leaves a note in the store that the processes met in. Every process has a thread that
looks there twice a second, because the process itself may be waiting, in a GPU's queue, for one that is gone.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

POLL_SECONDS = 0.5
"""Between two looks at the notes."""

PATIENCE_SECONDS = 10.0
"""How long a process that hears of a failure waits for its own end before it is ended."""

CONTROL_TIMEOUT = timedelta(days=7)
"""How long followers wait for the next command: whatever rank 0 does alone, such as saving, may take long."""


class LostProcess(RuntimeError):
    """Another process of the run failed or died; the message says which, and why where it could tell."""


class Link:
    """The way between rank 0 and the others.

    `in_step`: none is in the midst of what all do together. `on_stop`: called on rank 0, again and again, once
    another process has asked to stop.
    """

    def __init__(self, rank: int, size: int, store: Store) -> None:
        self.rank, self.size, self.in_step = rank, size, True
        self.on_stop: Callable[[], None] = lambda: None
        self._asked = False
        self._store = store
        self._control = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
        self._watch: threading.Thread | None = None
        self._over = threading.Event()

    def tell(self, *command: Any) -> None:
        """Give the others a command."""
        dist.broadcast_object_list([command], 0, group=self._control, device=torch.device("cpu"))

    def hear(self) -> tuple[Any, ...]:
        """The next command, for a process that follows."""
        heard: list[Any] = [None]
        dist.broadcast_object_list(heard, 0, group=self._control, device=torch.device("cpu"))
        command: tuple[Any, ...] = heard[0]
        return command

    def agree(self, flag: bool) -> bool:
        """Rank 0's flag, on every process."""
        said = torch.tensor([flag])
        dist.broadcast(said, 0, group=self._control)
        return bool(said.item())

    @contextmanager
    def together(self, *command: Any, alike: type[Exception] | tuple[()] = ()) -> Iterator[None]:
        """On rank 0, around what all do at once on a command.

        Args:
            alike: an error that all find in the same numbers, and that leaves them in step.

        Raises:
            LostProcess: the others cannot go on; whatever this process met itself is raised as it is.
        """
        self.in_step = False
        try:
            self.tell(*command)
            yield
        except alike:
            self.in_step = True
            raise
        except RuntimeError as error:
            if lost := self._who_is_lost():
                raise LostProcess(lost) from error
            raise
        self.in_step = True

    def watch(self) -> None:
        """Begin to look for notes, in a thread."""
        self._watch = threading.Thread(target=self._look, name="watch", daemon=True)
        self._watch.start()

    def ask_to_stop(self) -> None:
        """On a process that follows, in a signal's handler: have rank 0 finish the step, save, and end the run."""
        self._asked = True

    def failed(self, error: Exception) -> None:
        """On a process that follows: say why it cannot go on."""
        what = " ".join(str(error).split()) or type(error).__name__
        self._store.set("failed", f"process {self.rank} of {self.size} failed: {what}")

    def wait_for_word(self) -> None:
        """On a process that cannot go on: until rank 0 ends it, or is not heard of."""
        time.sleep(PATIENCE_SECONDS)

    def part(self) -> None:
        """All leave, in step: no note that comes from now on means anything."""
        self._over.set()
        dist.barrier(group=self._control)
        dist.destroy_process_group()

    def leave(self, code: int) -> None:
        """On rank 0: end the others, wherever they are."""
        self._over.set()
        self._store.set("leave", str(code))
        time.sleep(2 * POLL_SECONDS)  # the store may go with this process

    def _look(self) -> None:
        answered = asked = False
        while not self._over.wait(POLL_SECONDS):
            try:
                if self.rank > 0 and self._store.check(["leave"]):
                    os._exit(int(self._store.get("leave")))
                if self.rank > 0 and not answered and self._store.check(["roll"]):
                    self._store.set(f"here {self.rank}", "")
                    answered = True
                if self._asked and not asked:
                    self._store.set("stop", "")
                    asked = True
                if self.rank == 0 and self._store.check(["stop"]):
                    self.on_stop()
                failed = self.rank == 0 and self._store.check(["failed"])
                if failed and not self._over.wait(PATIENCE_SECONDS):
                    say(f"error: {self._store.get('failed').decode()}; the same command continues")
                    os._exit(1)
            except RuntimeError:  # the store went, and rank 0 with it
                if not self._over.is_set():
                    os._exit(1)

    def _who_is_lost(self) -> str:
        """What became of the others, in words; nothing where all are there and none has failed."""
        self._store.set("roll", "")
        ends = time.monotonic() + PATIENCE_SECONDS / 2
        others = range(1, self.size)
        while True:
            if self._store.check(["failed"]):
                return str(self._store.get("failed").decode())
            missing = [rank for rank in others if not self._store.check([f"here {rank}"])]
            if not missing:
                return ""
            if time.monotonic() > ends:
                which = f"process {missing[0]}" if len(missing) == 1 else f"processes {missing}"
                return f"{which} of {self.size} died (killed, or out of memory?)"
            time.sleep(POLL_SECONDS / 5)


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Who this process is among those that train one model.

    Args:
        rank: its number; 0 leads.
        size: how many there are; 1 has no others, and pays nothing for them.
        local_size: how many of them share this machine.
        shard: weights, gradients and moments are divided among them (FSDP2) rather than replicated (DDP).
        link: the way to the others, None where there are none.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    shard: bool = False
    link: Link | None = None


ALONE = World()
"""One process, the usual case."""


def processes(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes torchrun, or whoever sets its variables, started for this run.

    Raises:
        ValueError: a variable is missing or no number.
    """
    if "WORLD_SIZE" not in environment:
        return 1
    numbers = {}
    for name in ("WORLD_SIZE", "RANK"):
        text = environment.get(name, "")
        if not text.isdecimal():
            raise ValueError(f"environment variable {name} is {text!r}: start the processes with torchrun")
        numbers[name] = int(text)
    if not numbers["RANK"] < max(1, numbers["WORLD_SIZE"]):
        raise ValueError(f"environment variable RANK is {numbers['RANK']}, of {numbers['WORLD_SIZE']} processes")
    return max(1, numbers["WORLD_SIZE"])


def join() -> World:
    """Meet the others where torchrun's variables say: NCCL where there are GPUs, one each, else gloo."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = None
    if torch.cuda.is_available():
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    store, rank, size = next(rendezvous("env://"))
    dist.init_process_group(
        "gloo" if device is None else "nccl",
        store=PrefixStore("training", store),
        rank=rank,
        world_size=size,
        device_id=device,
    )
    link = Link(rank, size, PrefixStore("notes", store))
    link.watch()
    return World(rank=rank, size=size, local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")), link=link)


def say(line: str) -> None:
    """A line on stderr, in one piece."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def is_of_connection(error: Exception) -> bool:
    """Whether an error only says that another process is gone."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error)
