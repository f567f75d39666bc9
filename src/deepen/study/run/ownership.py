"""Ownership of a segment's folder: one writer, although workers run on several machines and can be lost.

    STUDY/workers/session       token of the command that runs the study; `stopped` asks its workers to stop
    STUDY/workers/<key>.lock    locked by the process that trains the segment; released when it ends
    STUDY/workers/<key>.owner   the latest attempt at the segment: its number, its token, its process

A worker that counts as lost may still be alive while another one trains the same segment. The *lock* makes the new
attempt wait until the old one has released it. The *owner* file makes the old one stop: each attempt writes its
token there before it waits for the lock, and an attempt that finds another token there does not write any more.

    attempt 1 on node-1      lock, owner = 1, trains ...                  owner is 2: stops without writing
    attempt 2 on node-2          owner = 2, waits for the lock ........................ lock, trains

With working file locks, at most one process writes in a segment's folder. An NFS server releases the lock of a
machine that was unreachable for a lease (usually 90 s). When that machine is back, it finds the other owner before
its next write. Only a write that was in progress at that moment is not prevented, but the sha256 of the state and
of the logs reveals it. The folder `workers` exists only while there may be worker processes.
"""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

from filelock import Timeout

from deepen import durable
from deepen.study.store.errors import StoreError
from deepen.study.store.lock import acquire_lock, current_process, is_locked

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Interval at which a worker checks whether it should stop, for which it opens two files."""

PATIENCE_SECONDS = 300.0
"""Longest wait for a lock: a few NFS leases, or a long step and a save."""

_VISIBLE_SECONDS = 60.0
"""Longest wait for a new file to appear in a network file system."""

_STOPPED = "stopped"


class SupersededError(Exception):
    """Another attempt at the segment is newer, so this one must not write any more."""


class Session:
    """The connection of a command to its worker processes, through files in the study's folder."""

    def __init__(self, study: Path) -> None:
        self._folder, self.token = study / "workers", uuid4().hex
        self._folder.mkdir(exist_ok=True)
        durable.write_whole(self._folder / "session", self.token.encode())

    def stop(self) -> None:
        """Ask all workers to finish their step, save and stop."""
        durable.write_whole(self._folder / "session", _STOPPED.encode())

    def is_held(self, key: str) -> bool:
        """Whether a process is training a segment."""
        return is_locked(self._folder / f"{key}.lock")

    def end(self) -> None:
        """Stop all workers, and wait until they have stopped."""
        self.stop()
        _remove_once_free(self._folder)


@contextmanager
def open_session(study: Path) -> Iterator[Session]:
    """Open a session for a `with` block, which ends when all workers have stopped."""
    session = Session(study)
    try:
        yield session
    finally:
        session.end()


def stop_earlier_session(study: Path) -> None:
    """Stop the workers of a command that was killed, and wait until they have saved.

    Raises:
        StoreError: a worker does not stop.
    """
    folder = study / "workers"
    if not folder.is_dir():
        return
    if _any_is_locked(folder):
        _log.warning("workers of an earlier run are still training: waiting until they have saved and stopped")
    durable.write_whole(folder / "session", _STOPPED.encode())
    _remove_once_free(folder)


def refuse_while_trained(study: Path) -> None:
    """Raise a StoreError while workers of a command that was killed are still training a study."""
    if _any_is_locked(study / "workers"):
        raise StoreError(
            f"workers of a command that was killed are still training in {study}",
            remedy="wait until they have ended, or run the command again, which stops them first",
        )


def _any_is_locked(folder: Path) -> bool:
    return any(is_locked(path) for path in folder.glob("*.lock"))


def _remove_once_free(folder: Path) -> None:
    """Wait until no worker holds a lock, and remove the folder."""
    for path in sorted(folder.glob("*.lock")):
        try:
            acquire_lock(path, timeout=PATIENCE_SECONDS).release()
        except Timeout:
            owner = _read_owner(path.with_suffix(".owner"))
            raise StoreError(
                f"{path} is still held by {owner.get('who', 'a process')}",
                remedy=f"end that process, or remove {folder} once its machine is down",
            ) from None
    shutil.rmtree(folder, ignore_errors=True)


def _read_owner(path: Path) -> dict[str, Any]:
    """The content of an owner file; empty if it is missing or damaged."""
    try:
        value = json.loads(_read(path) or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> bytes | None:
    """The content of a file that other processes replace; None if it does not exist."""
    try:
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            return path.read_bytes()  # on NFS, it was replaced between lookup and opening
    except FileNotFoundError:
        return None


class Claim:
    """The right of one attempt to write in a segment's folder, held inside a `with` block.

    Args:
        study: the study's folder.
        key: key of the segment.
        session: token of the command that submitted the attempt.
        attempt: number of the attempt. It can be claimed once, so a job that the cluster restarts is refused.
    """

    def __init__(self, study: Path, key: str, session: str, attempt: int) -> None:
        folder = study / "workers"
        self._session, self._lock, self._owner = (
            folder / "session",
            folder / f"{key}.lock",
            folder / f"{key}.owner",
        )
        self._session_token, self._token = session, uuid4().hex
        self._attempt, self._who = attempt, current_process()
        self._polled_at, self._must_stop = -POLL_SECONDS, False

    def __enter__(self) -> "Claim":
        """Become the owner, and wait for the lock.

        Raises:
            SupersededError: the command that submitted this attempt has ended, another attempt is newer, or the
                previous one does not release the lock.
            OSError: the study's folder is not visible from this machine.
            StoreError: its file system has no locks.
        """
        self._wait_until_visible()
        if self._read_session() != self._session_token:  # the next command counts attempts from 1 again
            raise SupersededError("the command that sent this job has ended")
        if (latest := _read_owner(self._owner)).get("attempt", 0) >= self._attempt:
            raise SupersededError(f"attempt {self._attempt} was begun before, by {latest['who']}")
        owner = {"attempt": self._attempt, "token": self._token, "who": self._who}
        durable.write_whole(self._owner, json.dumps(owner).encode())
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.check()
            try:
                self._held = acquire_lock(self._lock, timeout=POLL_SECONDS)
                return self
            except Timeout:
                if time.monotonic() > give_up_at:
                    raise SupersededError(f"{self._lock} is held by an attempt before this one") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Release the lock."""
        self._held.release()

    def check(self) -> None:
        """Raise a SupersededError if another attempt is newer; called before each write."""
        if self._is_superseded():
            raise SupersededError(f"another attempt took over from {self._who}")

    def should_stop(self) -> bool:
        """Whether the command has asked its workers to stop, or another command or attempt has taken over."""
        if not self._must_stop and time.monotonic() - self._polled_at >= POLL_SECONDS:
            self._must_stop = self._is_superseded() or self._read_session() != self._session_token
            self._polled_at = time.monotonic()
        return self._must_stop

    def _is_superseded(self) -> bool:
        return bool(_read_owner(self._owner).get("token") != self._token)

    def _read_session(self) -> str:
        return (_read(self._session) or _STOPPED.encode()).decode()

    def _wait_until_visible(self) -> None:
        give_up_at = time.monotonic() + _VISIBLE_SECONDS
        while not self._session.exists():
            if time.monotonic() > give_up_at:
                raise FileNotFoundError(
                    errno.ENOENT,
                    f"not there on {os.uname().nodename}: all machines must share it",
                    self._session,
                )
            time.sleep(1.0)
