"""A file lock that allows one writer per study folder.

    STUDY/lock          locked by the writing process; the system releases it when the process ends
    STUDY/lock.holder   names the writing process; removed when it ends normally

A process leaves `lock.holder` behind if it is killed or its disk fails. Then the files may differ from what was
written, so the next writer hashes every state in full (`unverified`). The note stays until a writer has done this.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from deepen import durable
from deepen.study.store.errors import StoreError

_log = logging.getLogger(__name__)

LOCK, HOLDER = "lock", "lock.holder"


def acquire_lock(path: Path, timeout: float) -> FileLock:
    """Lock a file; the system releases the lock when this process ends in any way.

    Args:
        path: the file; it is created if it does not exist.
        timeout: seconds to wait for the lock.

    Raises:
        Timeout: another process holds it.
        StoreError: the file system has no locks.
    """
    lock = FileLock(path, timeout=timeout, fallback_to_soft=False)  # a soft lock would outlive its process
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        raise StoreError(f"{path}: this file system has no locks (mount Lustre with -o flock)") from None
    return lock


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file; nothing is written to find out."""
    try:
        with _shared_lock(path):
            return False
    except BlockingIOError:
        return True


@contextmanager
def keep_writers_out(folder: Path) -> Iterator[None]:
    """Read a study's folder while nobody writes in it, for a `with` block; nothing is written.

    Raises:
        StoreError: a process is writing in it.
    """
    try:
        with _shared_lock(folder / LOCK):
            yield
    except BlockingIOError:
        raise _in_use(folder) from None


@contextmanager
def _shared_lock(path: Path) -> Iterator[None]:
    """Share the lock on a file with other readers; a file that cannot be opened or locked is read without.

    Raises:
        BlockingIOError: a writer holds it.
    """
    try:
        file = path.open("rb")
    except OSError:
        yield
        return
    with file:  # closing the file releases the lock
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            _log.debug("%s: read without a lock (%s)", path, error)
        yield


def _in_use(folder: Path) -> StoreError:
    note = folder / HOLDER
    holder = note.read_text().strip() if note.exists() else "another process"
    return StoreError(f"{folder} is in use by {holder}", remedy="wait for it, or name another `folder`")


def current_process() -> str:
    """Describe this process, for files and messages that name a holder."""
    return f"process {os.getpid()} on {os.uname().nodename}"


class WriterLock:
    """The right to write in a study's folder, held inside a `with` block.

    Attributes:
        unverified: an earlier writer died or its disk failed, and the states were not hashed since. The holder
            sets it to False after hashing them all, and to True if its own disk fails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._note = folder, folder / HOLDER
        self.unverified = False

    def __enter__(self) -> "WriterLock":
        """Take the lock.

        Raises:
            StoreError: another process holds it.
        """
        self._made = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = acquire_lock(self._folder / LOCK, timeout=0)
        except Timeout:
            raise _in_use(self._folder) from None
        except StoreError:
            if self._made:
                (self._folder / LOCK).unlink(missing_ok=True)
            self._remove_made_folders()
            raise
        try:
            self.unverified = self._note.exists()
            durable.write_whole(self._note, f"{current_process()}\n".encode())
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Release the lock; the note stays while states are unverified.

        After an error, a folder that was made for this run and has no study yet is removed, as far as it is empty.
        """
        if error is not None and self._made and not (self._folder / "study.json").exists():
            self.unverified = False
            (self._folder / LOCK).unlink(missing_ok=True)
        self._release()
        if error is not None:
            self._remove_made_folders()

    def _remove_made_folders(self) -> None:
        with suppress(OSError):  # a folder that is not empty stays
            for folder in self._made:
                folder.rmdir()

    def _release(self) -> None:
        try:
            if not self.unverified:
                self._note.unlink(missing_ok=True)
        finally:
            self._lock.release()
