"""End all processes of a run when one of them fails, whatever the others are doing at that moment.

A process may be waiting inside a GPU's queue for one that is gone, where no exception reaches it. So processes
leave notes in the store through which they connected, and a thread in each reads them twice a second:

    note        left by            read by            what the reader does
    failed      a follower         rank 0             raise ProcessLostError; end immediately if it hangs
    end         rank 0             the followers      end immediately, with rank 0's status
    stop        a follower         rank 0             finish the step, save, and stop (a signal came)
    roll call   rank 0             the followers      answer with its number; one that does not answer has died
    (no store)  -                  the followers      end immediately: the store was lost with rank 0
"""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from torch.distributed.distributed_c10d import Store

from deepen.device_errors import explain_device_error
from deepen.errors import RunError

POLL_SECONDS = 0.5
"""Time between two readings of the notes."""

GRACE_SECONDS = 10.0
"""How long a process has to end by itself after another one failed."""

_FAILED, _END, _STOP, _ROLL_CALL = "failed", "end", "stop", "roll call"


class ProcessLostError(RunError):
    """Another process of the run failed or died. The message names it, and the reason if known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Why this process must end immediately.

    Args:
        failure: why another process failed; empty on followers, because rank 0 reports it.
        status: the exit status that rank 0 left in its note; None without a note.
    """

    failure: str = ""
    status: int | None = None


class FailureNotes:
    """The notes that a process leaves for the others, and the thread that reads theirs.

    Args:
        rank: this process's number.
        size: number of processes.
        store: the store that all of them read and write.
        end_now: called by the thread when this process must end but may hang; it does not return.

    Attributes:
        on_stop: called on rank 0, repeatedly, once a follower has requested to stop.
    """

    def __init__(self, rank: int, size: int, store: Store, end_now: Callable[[Ending], None]) -> None:
        self._rank, self._size, self._store, self._end_now = rank, size, store, end_now
        self.on_stop: Callable[[], None] = lambda: None
        self._stop_requested = False
        self._roll_calls, self._answered, self._roll_call_lock = itertools.count(1), 0, threading.Lock()
        self._closed = threading.Event()

    def watch(self) -> None:
        """Start the thread that reads the notes."""
        watch = self._watch_followers if self._rank == 0 else self._watch_leader
        threading.Thread(target=self._poll, args=(watch,), name="watch", daemon=True).start()

    def close(self) -> None:
        """Stop reading the notes: the run is over."""
        self._closed.set()

    def request_stop(self) -> None:
        """On a follower, in a signal handler: ask rank 0 to finish the step, save, and end the run."""
        self._stop_requested = True

    def report_failure(self, error: Exception) -> None:
        """On a follower: leave a note with the reason why it cannot continue."""
        failed = explain_device_error(error)
        text = str(error if failed is None else failed)
        what = " ".join(text.split()) or type(error).__name__
        self._store.set(_FAILED, f"process {self._rank} of {self._size} failed: {what}")

    def wait_to_be_ended(self) -> None:
        """On a follower that cannot continue: give rank 0 time to end it."""
        time.sleep(GRACE_SECONDS)

    def end_others(self, status: int) -> None:
        """On rank 0: end the followers, whatever they are doing."""
        self.close()
        self._store.set(_END, str(status))
        time.sleep(2 * POLL_SECONDS)  # the store may end with this process

    def find_lost(self) -> str:
        """On rank 0: describe which process failed or died; empty if all answer a roll call."""
        with self._roll_call_lock:  # training and a save may both ask, and processes answer the latest call only
            return self._call_roll()

    def _call_roll(self) -> str:
        number = next(self._roll_calls)
        self._store.set(_ROLL_CALL, str(number))
        ends = time.monotonic() + GRACE_SECONDS / 2
        while True:
            if self._store.check([_FAILED]):
                return self._read(_FAILED)
            missing = [rank for rank in range(1, self._size) if not self._has_answered(rank, number)]
            if not missing:
                return ""
            if time.monotonic() > ends:
                which = f"process {missing[0]}" if len(missing) == 1 else f"processes {missing}"
                return f"{which} of {self._size} died (killed, or out of memory?)"
            time.sleep(POLL_SECONDS / 5)

    def _poll(self, watch: Callable[[], None]) -> None:
        while not self._closed.wait(POLL_SECONDS):
            try:
                watch()
            except RuntimeError:  # the store is gone, and rank 0 with it
                if not self._closed.is_set():
                    self._end_now(Ending())

    def _watch_leader(self) -> None:
        """On a follower: end when rank 0 asks for it, answer its roll call, pass on a request to stop."""
        if self._store.check([_END]):
            self._end_now(Ending(status=int(self._read(_END))))
        if self._store.check([_ROLL_CALL]) and (number := int(self._read(_ROLL_CALL))) != self._answered:
            self._store.set(_answer_key(self._rank), str(number))
            self._answered = number
        if self._stop_requested:
            self._store.set(_STOP, "")

    def _watch_followers(self) -> None:
        """On rank 0: stop when a follower asks for it, and end if one failed and this process hangs."""
        if self._store.check([_STOP]):
            self.on_stop()
        if self._store.check([_FAILED]) and not self._closed.wait(GRACE_SECONDS):
            self._end_now(Ending(failure=self._read(_FAILED)))

    def _has_answered(self, rank: int, number: int) -> bool:
        """Whether a process answered this roll call."""
        return self._store.check([_answer_key(rank)]) and int(self._read(_answer_key(rank))) == number

    def _read(self, note: str) -> str:
        return str(self._store.get(note).decode())


def _answer_key(rank: int) -> str:
    return f"here {rank}"
