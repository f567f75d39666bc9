"""A study's folder: study.json, a folder per segment, results.json. One writer at a time.

Everything but the line logs is written to a temporary name, made durable and renamed. A line log is cut back
to the state it belongs to before a segment goes on, so no line is ever there twice.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from deepen.study.tree import Node, recipe_of
from deepen.train.checkpoint import fsync, load_state, save_state
from deepen.train.state import Progress, TrainState


class StoreError(ValueError):
    """A folder that cannot be used for this study; the message says what to do."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is always whole: the old or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1))
    fsync(temporary)
    temporary.replace(path)


class SegmentFolder:
    """What is kept of one segment: spec.json, metrics.jsonl, evals.jsonl, state/; done.json once it is done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, node: Node) -> None:
        """Make the folder and say what the segment is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "spec.json").exists():
            spec = {
                "key": node.key,
                "parent": node.parent,
                "seed": node.seed,
                "label": node.segment.label,
                "recipe": recipe_of(node.segment),
                "end": node.segment.end,
            }
            write_json(self.folder / "spec.json", spec)

    @property
    def done(self) -> dict[str, Any] | None:
        """Progress and peak memory of a finished segment, else None."""
        return _read_json(self.folder / "done.json")

    def finish(self, state: TrainState, peak_memory_bytes: int) -> None:
        """Keep the final state, then say that the segment is done."""
        self.save(state)
        write_json(
            self.folder / "done.json",
            {"progress": asdict(state.progress), "peak_memory_bytes": peak_memory_bytes},
        )

    def save(self, state: TrainState) -> None:
        """Keep a state."""
        save_state(state, self.folder / "state")

    def state(self) -> TrainState:
        """The newest good state."""
        return load_state(self.folder / "state")

    @property
    def has_state(self) -> bool:
        """Whether there is a state at all."""
        return any((self.folder / name / "manifest.json").exists() for name in ("state", "state.new", "state.old"))

    def forget(self) -> None:
        """Make the segment one that is still to be trained, from its beginning."""
        (self.folder / "done.json").unlink(missing_ok=True)
        self.drop_state()

    def drop_state(self) -> None:
        """Forget the state of a segment that nothing starts from any more."""
        for name in ("state", "state.new", "state.old"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def append(self, log: str, lines: list[dict[str, Any]]) -> None:
        """Append lines to `metrics` or `evals`."""
        if lines:
            with (self.folder / f"{log}.jsonl").open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)

    def lines(self, log: str) -> list[dict[str, Any]]:
        """The whole lines of `metrics` or `evals`."""
        path = self.folder / f"{log}.jsonl"
        if not path.exists():
            return []
        lines = []
        for text in path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break  # a kill in the middle of a line: everything from here on is done again
        return lines

    def cut_back(self, progress: Progress) -> None:
        """Forget the lines after a state that is gone on from."""
        for log in ("metrics", "evals"):
            path = self.folder / f"{log}.jsonl"
            if path.exists():
                kept = [line for line in self.lines(log) if line["tokens"] <= progress.tokens]
                temporary = path.with_name(path.name + ".tmp")
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
                temporary.replace(path)


_MAY_GROW = ("arms", "seeds", "anchors", "accountings")
"""What a study may get more of in the same folder."""


def _is_kept(key: str, old: Any, new: Any) -> bool:
    """Whether a study that had `old` may go on with `new`: nothing that is there may be left out."""
    if key in _MAY_GROW and isinstance(old, list):
        return all(entry in new for entry in old)
    return bool(old == new)


class Store:
    """The folder of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def segment(self, key: str) -> SegmentFolder:
        """The folder of a segment."""
        return SegmentFolder(self.folder / "segments" / key)

    def recorded(self, key: str) -> Any:
        """What study.json says of a key, None where it says nothing."""
        return (_read_json(self.folder / "study.json") or {}).get(key)

    def wall_seconds(self) -> float:
        """Wall time of the sessions that went into results.json so far."""
        before = _read_json(self.folder / "results.json") or {}
        return float(before.get("regime", {}).get("wall_seconds", 0.0))

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
            if any(entry.name not in ("lock", "lock.holder", "data") for entry in self.folder.iterdir()):
                raise StoreError(f"--out {self.folder} holds something else: name a new folder or a study's own")
            return
        before = _read_json(self.folder / "study.json")
        if before is None or "study" not in before:
            raise StoreError(
                f"{self.folder / 'study.json'} is damaged: move the folder away or name another --out"
            )
        old, new = before["study"], json.loads(json.dumps(described))
        differing = [key for key in new if not _is_kept(key, old.get(key), new[key])]
        if differing:
            key = differing[0]
            raise StoreError(
                f"--out {self.folder} holds a study with other settings ({', '.join(differing)}; "
                f"{key} was {old.get(key)}): name another --out, or ask for what is there or more of it"
            )

    def open(self, described: dict[str, Any], about: dict[str, Any]) -> None:
        """Make the folder this study's."""
        self.check(described)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.recorded("data_fingerprint") not in (None, about.get("data_fingerprint")):
            raise StoreError(
                f"the data is not what {self.folder} was trained on: restore it, or name another --out"
            )
        write_json(self.folder / "study.json", {"study": described, **about})

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer. A dead process holds no lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock", timeout=0)
        holder = self.folder / "lock.holder"
        try:
            lock.acquire()
        except Timeout:
            who = holder.read_text().strip() if holder.exists() else "another process"
            raise StoreError(f"{self.folder} is in use by {who}: wait for it, or name another --out") from None
        try:
            holder.write_text(f"process {os.getpid()} on {os.uname().nodename}\n")
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
