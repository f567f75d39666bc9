"""A file lock that allows one writer per study folder.

    STUDY/lock          locked by the writing process; the system releases it when the process ends
    STUDY/lock.holder   names the writing process; removed when it ends normally

A process leaves `lock.holder` behind if it is killed or its disk fails. Then the files may differ from what was
written, so the next writer hashes every state in full (`unverified`). The note stays until a writer has done this.
"""

import errno
import os
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from deepen import durable
from deepen.study.store.errors import StoreError


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
    """Whether a process holds the lock on a file."""
    if not path.exists():
        return False
    try:
        acquire_lock(path, timeout=0).release()
    except Timeout:
        return True
    return False


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
        self._folder, self._note = folder, folder / "lock.holder"
        self.unverified = False

    def __enter__(self) -> "WriterLock":
        """Take the lock.

        Raises:
            StoreError: another process holds it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = acquire_lock(self._folder / "lock", timeout=0)
        except Timeout:
            holder = self._note.read_text().strip() if self._note.exists() else "another process"
            raise StoreError(
                f"{self._folder} is in use by {holder}", remedy="wait for it, or name another `folder`"
            ) from None
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
        """Release the lock; the note stays while states are unverified."""
        self._release()

    def _release(self) -> None:
        try:
            if not self.unverified:
                self._note.unlink(missing_ok=True)
        finally:
            self._lock.release()
