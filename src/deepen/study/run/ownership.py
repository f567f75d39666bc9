"""Who may write in a study's folder while worker processes train its segments, on however many machines.

    STUDY/workers/session       the token of the command that runs the study; `stopped` asks its workers to leave
    STUDY/workers/<key>.lock    held by the process that trains the segment, released when it ends, however it ends
    STUDY/workers/<key>.owner   which attempt at the segment is the latest, and where

A worker that was given up for lost may still be alive, so the segment that is trained again elsewhere must be safe
from it. Two things see to that. The *lock*: an attempt waits until the one before it has let go. The *owner*: an
attempt says that it is the latest before it waits, and whoever finds another's name there leaves without writing.

Where file locks work, at most one process writes in a segment's folder. On NFS the server takes a lock away from a
machine that it has not heard of for its lease (90 s is usual). Such a machine, when it comes back, finds another
owner before its next write; only a write that was under way when it was cut off is not caught, and the sha256 of a
state and of its logs would tell. The folder is there only while worker processes may be.
"""

import errno
import json
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
from deepen.study.store.study_folder import StoreError, locked, warn

POLL_SECONDS = 0.5
"""How often a worker looks whether it shall stop: two files are opened for it."""

PATIENCE_SECONDS = 300.0
"""How long a lock is waited for: some leases of NFS, or a long step and the save after it."""

_VISIBLE_SECONDS = 60.0
"""How long a machine's network file system may believe that a new file is not there."""

_STOPPED = "stopped"


class SupersededError(Exception):
    """This attempt at a segment is not the latest: it must not write any more."""


class Session:
    """A command's hold on its worker processes, in a study's folder."""

    def __init__(self, study: Path) -> None:
        self._folder, self.token = study / "workers", uuid4().hex
        self._folder.mkdir(exist_ok=True)
        durable.write_whole(self._folder / "session", self.token.encode())

    def stop(self) -> None:
        """Ask all workers to finish their step, save and leave."""
        durable.write_whole(self._folder / "session", _STOPPED.encode())

    def is_held(self, key: str) -> bool:
        """Whether a process trains a segment."""
        return _is_held(self._folder / f"{key}.lock")

    def end(self) -> None:
        """Ask all to leave, and wait for those that have not."""
        self.stop()
        _clear(self._folder)


def stop_earlier_session(study: Path) -> None:
    """Stop what workers a command that was killed left behind, and wait until they have saved.

    Raises:
        StoreError: one does not leave.
    """
    folder = study / "workers"
    if not folder.is_dir():
        return
    if _any_is_held(folder):
        warn("workers of an earlier run are still training: waiting until they have saved and stopped")
    durable.write_whole(folder / "session", _STOPPED.encode())
    _clear(folder)


def refuse_while_trained(study: Path) -> None:
    """Raise a StoreError while workers that a killed command left behind change files under a reader."""
    if _any_is_held(study / "workers"):
        raise StoreError(
            f"workers of a command that was killed are still training in {study}: wait until they have ended, "
            "or run the command again, which stops them first"
        )


def _any_is_held(folder: Path) -> bool:
    return any(_is_held(path) for path in folder.glob("*.lock"))


def _clear(folder: Path) -> None:
    for path in sorted(folder.glob("*.lock")):
        try:
            locked(path, timeout=PATIENCE_SECONDS).release()
        except Timeout:
            owner = _owner(path.with_suffix(".owner"))
            raise StoreError(
                f"{path} is still held by {owner.get('who', 'a process')}: end that process, "
                f"or remove {folder} once its machine is down"
            ) from None
    shutil.rmtree(folder, ignore_errors=True)


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        locked(path, timeout=0).release()
    except Timeout:
        return True
    return False


def _owner(path: Path) -> dict[str, Any]:
    """What an owner file says; nothing where it is not there."""
    try:
        value = json.loads(_read(path) or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> bytes | None:
    """The content of a file that others replace, None where it is not there; on NFS, what its server has."""
    try:
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            return path.read_bytes()  # it was replaced between NFS's look for it and its opening
    except FileNotFoundError:
        return None


class Claim:
    """One attempt's right to write in a segment's folder.

    As a context it says that the attempt is the latest, waits for the lock, and lets go of it at the end.
    """

    def __init__(self, study: Path, key: str, session: str, attempt: int) -> None:
        """An attempt is claimed once: a scheduler that starts it again by itself is refused."""
        folder = study / "workers"
        self._session, self._lock, self._owner = (
            folder / "session",
            folder / f"{key}.lock",
            folder / f"{key}.owner",
        )
        self._token, self._own = session, uuid4().hex
        self._attempt, self._who = attempt, f"process {os.getpid()} on {os.uname().nodename}"
        self._polled_at, self._shall_stop = -POLL_SECONDS, False

    def __enter__(self) -> "Claim":
        """Claim the segment.

        Raises:
            SupersededError: the command that sent this attempt has ended, another attempt is the latest, or
                the one before does not let go.
            OSError: the study's folder is not to be seen from here.
            StoreError: its file system has no locks.
        """
        self._wait_until_visible()
        if self._read_session() != self._token:  # the attempts of another command are counted anew
            raise SupersededError("the command that sent this job has ended")
        if (latest := _owner(self._owner)).get("attempt", 0) >= self._attempt:
            raise SupersededError(f"attempt {self._attempt} was begun before, by {latest['who']}")
        said = {"attempt": self._attempt, "token": self._own, "who": self._who}
        durable.write_whole(self._owner, json.dumps(said).encode())
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.check()
            try:
                self._held = locked(self._lock, timeout=POLL_SECONDS)
                return self
            except Timeout:
                if time.monotonic() > give_up_at:
                    raise SupersededError(f"{self._lock} is held by an attempt before this one") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Let go."""
        self._held.release()

    def check(self) -> None:
        """Raise a SupersededError where another attempt is the latest; to be called before each write."""
        if _owner(self._owner).get("token") != self._own:
            raise SupersededError(f"another attempt took over from {self._who}")

    def should_stop(self) -> bool:
        """Whether the command asked its workers to stop, is another by now, or another attempt took over."""
        if not self._shall_stop and time.monotonic() - self._polled_at >= POLL_SECONDS:
            superseded = _owner(self._owner).get("token") != self._own
            self._shall_stop = superseded or self._read_session() != self._token
            self._polled_at = time.monotonic()
        return self._shall_stop

    def _read_session(self) -> str:
        return (_read(self._session) or _STOPPED.encode()).decode()

    def _wait_until_visible(self) -> None:
        give_up_at = time.monotonic() + _VISIBLE_SECONDS
        while not self._session.exists():
            if time.monotonic() > give_up_at:
                raise FileNotFoundError(
                    errno.ENOENT, f"not there on {os.uname().nodename}: all machines must share it", self._session
                )
            time.sleep(1.0)


@contextmanager
def session_of(study: Path) -> Iterator[Session]:
    """A session that ends, whatever happens."""
    session = Session(study)
    try:
        yield session
    finally:
        session.end()
