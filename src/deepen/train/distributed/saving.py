"""Save a sharded state: every process writes its own file in the background, and reports it to rank 0.

The processes leave notes in the store through which they connected. For the seventh state that they copied:

    note         left by                  content
    save 7       rank 0                   the folder to write to
    saved 7 2    the process of share 2   the entry of its file in the manifest, or its error

Nothing is waited for in a collective operation, so training continues meanwhile.
"""

import itertools
import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.distributed.distributed_c10d import Store

from deepen.errors import RunError
from deepen.train.checkpoint.shard_files import find_share, write_shard
from deepen.train.distributed.failure import FailureNotes, ProcessLostError
from deepen.train.state import TrainState

POLL_SECONDS = 0.05
"""Time between two readings of a note."""

ROLL_CALL_SECONDS = 10.0
"""Time after which rank 0 checks that the others still run, if one has not saved."""


class SaveNotes:
    """The notes about saves, as this process reads and writes them.

    Args:
        store: the store that all processes read and write.
        notes: with which rank 0 finds a process that was lost.
    """

    def __init__(self, store: Store, notes: FailureNotes) -> None:
        self._store, self._notes, self._numbers = store, notes, itertools.count(1)
        self._replaced = threading.Event()

    def next_number(self) -> int:
        """On rank 0: a number for the next state."""
        return next(self._numbers)

    def others(self, number: int, count: int) -> "OtherProcesses":
        """On rank 0: the processes that hold shares 1 to `count` - 1 of a state."""
        return OtherProcesses(number, count, self._store, self._notes)

    def write_on_request(self, number: int, state: TrainState) -> None:
        """On a follower: write this process's share in the background, once rank 0 names the folder.

        Rank 0 does so for one state after another, or not at all: the next state replaces one without a folder.
        """
        self._replaced.set()
        self._replaced = threading.Event()
        arguments = (number, state, self._replaced)
        threading.Thread(target=self._write, args=arguments, name="saver", daemon=True).start()

    def _write(self, number: int, state: TrainState, replaced: threading.Event) -> None:
        share = find_share(state)
        if not share.is_written_here:
            return
        with suppress(RuntimeError):  # the store is gone, and rank 0 with it
            while not self._store.check([_folder_key(number)]):
                if replaced.wait(POLL_SECONDS):
                    return
            folder = Path(json.loads(self._store.get(_folder_key(number))))
            self._store.set(_report_key(number, share.index), json.dumps(_write_and_report(state, folder)))


class OtherProcesses:
    """The other processes of a run, as rank 0 sees them while a state is saved: see `OtherShares`."""

    def __init__(self, number: int, count: int, store: Store, notes: FailureNotes) -> None:
        self._number, self._count, self._store, self._notes = number, count, store, notes

    def begin(self, folder: Path) -> None:
        """Let them write to a folder."""
        self._store.set(_folder_key(self._number), json.dumps(str(folder.absolute())))

    def wait(self) -> dict[int, Mapping[str, Any]]:
        """Wait for them; returns the manifest's entry of each file, by the number of its share.

        Raises:
            OSError: one could not write.
            RunError: one failed otherwise, or died.
        """
        entries = {index: _read_report(self._wait_for_report(index)) for index in range(1, self._count)}
        self._store.delete_key(_folder_key(self._number))
        return entries

    def _wait_for_report(self, index: int) -> dict[str, Any]:
        key, ask_at = _report_key(self._number, index), time.monotonic() + ROLL_CALL_SECONDS
        while not self._store.check([key]):
            time.sleep(POLL_SECONDS)
            if time.monotonic() > ask_at:
                if lost := self._notes.find_lost():
                    raise ProcessLostError(lost)
                ask_at = time.monotonic() + ROLL_CALL_SECONDS
        report: dict[str, Any] = json.loads(self._store.get(key))
        self._store.delete_key(key)
        return report


def _write_and_report(state: TrainState, folder: Path) -> dict[str, Any]:
    try:
        return {"entry": write_shard(state, folder)}
    except OSError as error:
        return {"errno": error.errno, "error": error.strerror or str(error), "path": str(error.filename or folder)}
    except Exception as error:
        return {"error": " ".join(str(error).split()) or type(error).__name__}


def _read_report(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry in a report; raises the error in it."""
    if "entry" in report:
        entry: Mapping[str, Any] = report["entry"]
        return entry
    if "path" in report:
        raise OSError(report["errno"], report["error"], report["path"])
    raise RunError(f"a process could not save its share of the state: {report['error']}")


def _folder_key(number: int) -> str:
    return f"save {number}"


def _report_key(number: int, share: int) -> str:
    return f"saved {number} {share}"
