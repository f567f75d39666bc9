"""A segment's folder: spec.json, metrics.jsonl, evals.jsonl, state/; done.json once it is done.

Everything but the line logs is whole or not there. A line log only grows; the state knows how far it had grown
and its sha256 so far, so a log is never behind its state, and before a segment goes on it is cut back to it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.study.compile.keys import canonical
from deepen.study.compile.tree import Node
from deepen.train.checkpoint.state_files import StateError, read_log_digests, read_progress
from deepen.train.checkpoint.state_folder import (
    find_good_state,
    has_state,
    load_state,
    recover,
    remove_state,
    save_state,
)
from deepen.train.state import Progress, TrainState

LOGS = ("metrics", "evals")

LogSizes = Mapping[str, int]
"""Bytes of each log."""


class SegmentFolder:
    """What is kept of one segment."""

    def __init__(self, folder: Path, check: Callable[[], None] = lambda: None) -> None:
        """`check` is called before each write of training; it raises where another process took over."""
        self.folder, self._check = folder, check

    def open(self, node: Node, *, anew: bool = False) -> None:
        """Make the folder and say what the segment is, over what was said before where it begins anew."""
        self._check()
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True)
            durable.fsync(self.folder.parent)
        if anew or self.spec is None:
            spec = {
                "key": node.key,
                "parent": node.parent,
                "seed": node.seed,
                "label": node.segment.label,
                "recipe": canonical(node.segment),
                "end": node.segment.end,
            }
            durable.write_json(self.folder / "spec.json", spec)

    @property
    def spec(self) -> dict[str, Any] | None:
        """What the segment is, None where that is not said or damaged."""
        return self._believed("spec.json")

    @property
    def done(self) -> dict[str, Any] | None:
        """Progress, peak memory and logs of a finished segment, else None."""
        return self._believed("done.json")

    def _believed(self, name: str) -> dict[str, Any] | None:
        try:
            return durable.read_json(self.folder / name)
        except durable.DamagedError:
            return None

    def finish(self, state: TrainState, peak_memory_bytes: int) -> None:
        """Keep the final state, then say that the segment is done."""
        self.save(state)
        done = {
            "progress": asdict(state.progress),
            "peak_memory_bytes": peak_memory_bytes,
            "logs": self._digests(self.log_sizes()),
        }
        self._check()
        durable.write_json(self.folder / "done.json", done)

    def save(self, state: TrainState, sizes: LogSizes | None = None) -> None:
        """Keep a state, after making durable the logs that led to it.

        Args:
            sizes: bytes of the logs when the state was taken; now, where left out.
        """
        sizes = self.log_sizes() if sizes is None else sizes
        for log in sizes:
            durable.fsync(self._log(log))
        self._check()
        save_state(state, self.folder / "state", self._digests(sizes), self._check)

    def state(self) -> TrainState:
        """The newest good state; a StateError where there is none."""
        return load_state(self.folder / "state")

    def recover_state(self, *, verify: bool) -> list[str]:
        """Leave the newest good state and nothing beside it; returns what was wrong."""
        self._check()
        return recover(self.folder / "state", verify=verify)

    @property
    def tokens_saved(self) -> int:
        """Tokens at which the newest good state stands, 0 where there is none."""
        try:
            return read_progress(find_good_state(self.folder / "state")[0]).tokens
        except StateError:
            return 0

    @property
    def has_state(self) -> bool:
        """Whether there is a state at all."""
        return has_state(self.folder / "state")

    def forget(self) -> None:
        """Make the segment one that is still to be finished; what state there is stays."""
        (self.folder / "done.json").unlink(missing_ok=True)

    def drop_state(self) -> None:
        """Forget the state of a segment that nothing starts from any more."""
        self._check()
        remove_state(self.folder / "state")

    def _log(self, log: str) -> Path:
        return self.folder / f"{log}.jsonl"

    def append(self, log: str, lines: list[dict[str, Any]]) -> None:
        """Append lines to `metrics` or `evals`."""
        if lines:
            self._check()
            durable.append(self._log(log), "".join(json.dumps(line) + "\n" for line in lines).encode())

    def lines(self, log: str) -> list[dict[str, Any]]:
        """The whole lines of `metrics` or `evals`, up to the first that a kill left half."""
        return [line for _, line in self._whole_lines(log)]

    def _whole_lines(self, log: str) -> list[tuple[bytes, dict[str, Any]]]:
        path, whole = self._log(log), []
        for text in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
            try:
                line = json.loads(text)
            except ValueError:
                break
            if not (isinstance(line, dict) and isinstance(line.get("tokens"), int) and text.endswith(b"\n")):
                break
            whole.append((text, line))
        return whole

    def truncate_logs(self, progress: Progress) -> None:
        """Forget the lines after a state that is gone on from."""
        self._check()
        for log in LOGS:
            if self._log(log).exists():
                kept = b"".join(t for t, line in self._whole_lines(log) if line["tokens"] <= progress.tokens)
                if len(kept) != self._log(log).stat().st_size:
                    durable.write_whole(self._log(log), kept)

    def log_sizes(self) -> dict[str, int]:
        """Bytes of the logs that there are."""
        return {log: self._log(log).stat().st_size for log in LOGS if self._log(log).exists()}

    def _digests(self, sizes: LogSizes) -> dict[str, Any]:
        return {
            log: {"bytes": size, "sha256": durable.sha256(self._log(log), size)} for log, size in sizes.items()
        }

    def damaged_json(self) -> list[str]:
        """What is wrong, file and reason, with spec.json and done.json."""
        problems = []
        for name in ("spec.json", "done.json"):
            try:
                durable.read_json(self.folder / name)
            except durable.DamagedError as error:
                problems.append(str(error))
        return problems

    def damaged_logs(self) -> list[str]:
        """What is wrong, file and reason, with the logs as far as somebody vouches for them.

        Those of a finished segment are vouched for by done.json, whole; those of any other by its state, as far
        as they had grown when it was saved.
        """
        if self.done is not None:
            return self._compared(self.done.get("logs", {}), whole=True)
        try:
            found, _ = find_good_state(self.folder / "state")
            return self._compared(read_log_digests(found), whole=False)
        except StateError:
            return []  # no state: the logs are begun again

    def _compared(self, said: Mapping[str, Any], *, whole: bool) -> list[str]:
        problems = []
        for log, entry in said.items():
            path = self._log(log)
            size = path.stat().st_size if path.exists() else 0
            if size < entry["bytes"] or (whole and size > entry["bytes"]):
                problems.append(f"{path} is damaged: it has {size:,} bytes, {entry['bytes']:,} were written")
            elif durable.sha256(path, entry["bytes"]) != entry["sha256"]:
                problems.append(f"{path} is damaged: its sha256 is not what was written")
        return problems
