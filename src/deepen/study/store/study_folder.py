"""A study's folder: study.json, a folder per segment, results.json. One writer at a time."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from deepen import durable
from deepen.study.store.segment_folder import SegmentFolder


class StoreError(ValueError):
    """A folder that cannot be used for this study; the message says what to do."""


def warn(line: str) -> None:
    """Say on stderr, in one piece, what is wrong and what is done about it; the progress line comes again."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{clear}warning: {line}\n")
    sys.stderr.flush()


def locked(path: Path, timeout: float) -> FileLock:
    """Take a lock on a file, which the system drops when this process ends, however it ends.

    Args:
        timeout: seconds to wait for it.

    Raises:
        Timeout: another process holds it.
        StoreError: the file system has no locks.
    """
    lock = FileLock(path, timeout=timeout, fallback_to_soft=False)  # a soft lock outlives its process
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        raise StoreError(f"{path}: this file system has no locks (mount Lustre with -o flock)") from None
    return lock


@dataclass(slots=True)
class Hold:
    """Being a folder's only writer.

    `unverified`: the one before died, or its disk failed, and no state was hashed in full since.
    """

    unverified: bool


_MAY_GROW = ("arms", "seeds", "anchors", "accountings")
"""What a study may get more of in the same folder."""


def _is_kept(key: str, old: Any, new: Any) -> bool:
    """Whether a study that had `old` may go on with `new`: nothing that is there may be left out."""
    if key in _MAY_GROW and isinstance(old, list):
        return all(entry in new for entry in old)
    return bool(old == new)


def _first_difference(key: str, old: Any, new: Any) -> tuple[str, Any]:
    """The name of the first value that differs, `settings.on_spike`, and what it was."""
    if isinstance(old, dict) and isinstance(new, dict):
        for inner in sorted(old.keys() | new.keys()):
            if old.get(inner) != new.get(inner):
                return _first_difference(f"{key}.{inner}", old.get(inner), new.get(inner))
    return key, "not set" if old is None else old


class Store:
    """The folder of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def segment(self, key: str, check: Callable[[], None] = lambda: None) -> SegmentFolder:
        """The folder of a segment; `check` is called before each write of training."""
        return SegmentFolder(self.folder / "segments" / key, check)

    def recorded(self, key: str) -> Any:
        """What study.json says of a key, None where it says nothing."""
        return (self._study_json() or {}).get(key)

    def wall_seconds(self) -> float:
        """Wall time of the sessions that went into results.json so far; 0 where it is not there or damaged."""
        try:
            before = durable.read_json(self.folder / "results.json") or {}
        except durable.DamagedError as error:
            warn(f"{error}; it is written anew, and its wall time counts from now")
            before = {}
        regime = before.get("regime")
        seconds = regime.get("wall_seconds") if isinstance(regime, dict) else 0.0
        return float(seconds) if isinstance(seconds, int | float) else 0.0

    def newest_state(self) -> Path | None:
        """The folder of the state that was completed last."""
        states = list(self.folder.glob("segments/*/state/manifest.json"))
        return max(states, key=lambda path: path.stat().st_mtime).parent if states else None

    def check(self, described: dict[str, Any]) -> None:
        """Raise a StoreError unless the folder is new, empty, or this very study's.

        More seeds or arms than before are welcome: their segments join those that are there.
        """
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise StoreError(f"--out {self.folder} is a file: name a folder")
        if not (self.folder / "study.json").exists():
            ours = ("lock", "lock.holder", "data", "lock.holder.tmp", "study.json.tmp")  # a beginning cut off
            if any(entry.name not in ours for entry in self.folder.iterdir()):
                raise StoreError(f"--out {self.folder} holds something else: name a new folder or a study's own")
            return
        before = self._study_json()
        if before is None or not isinstance(before.get("study"), dict):
            raise StoreError(
                f"{self.folder / 'study.json'} is damaged: it names no study; restore it from a copy, "
                "or name another --out"
            )
        old, new = before["study"], json.loads(json.dumps(described))
        differing = [key for key in new if not _is_kept(key, old.get(key), new[key])]
        if differing:
            where, was = _first_difference(differing[0], old.get(differing[0]), new[differing[0]])
            raise StoreError(
                f"--out {self.folder} holds a study with other settings ({', '.join(differing)}; "
                f"{where} was {was}): name another --out, or ask for what is there or more of it"
            )

    def open(self, described: dict[str, Any], about: dict[str, Any]) -> None:
        """Make the folder this study's."""
        self.check(described)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.recorded("data_fingerprint") not in (None, about.get("data_fingerprint")):
            raise StoreError(
                f"the data is not what {self.folder} was trained on: restore it, or name another --out"
            )
        durable.write_json(self.folder / "study.json", {"study": described, **about})

    def segment_keys(self) -> list[str]:
        """The segments that have a folder."""
        return sorted(path.name for path in self.folder.glob("segments/*") if path.is_dir())

    def _study_json(self) -> dict[str, Any] | None:
        try:
            return durable.read_json(self.folder / "study.json")
        except durable.DamagedError as error:
            raise StoreError(f"{error}: restore it from a copy, or name another --out") from None

    @contextmanager
    def lock(self) -> Iterator[Hold]:
        """Be the only writer. A dead process holds no lock, but its note of who holds it is still there.

        Whoever has verified the states sets `unverified` to False; until then the note stays for the next one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        holder = self.folder / "lock.holder"
        try:
            lock = locked(self.folder / "lock", timeout=0)
        except Timeout:
            who = holder.read_text().strip() if holder.exists() else "another process"
            raise StoreError(f"{self.folder} is in use by {who}: wait for it, or name another --out") from None
        try:
            hold = Hold(unverified=holder.exists())
            durable.write_whole(holder, f"process {os.getpid()} on {os.uname().nodename}\n".encode())
            yield hold
        finally:
            if not hold.unverified:
                holder.unlink(missing_ok=True)
            lock.release()
