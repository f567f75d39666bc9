"""A segment's folder: its description, its logs, its state, and done.json once it is finished.

    spec.json        what the segment is
    metrics.jsonl    one line for each training step
    evals.jsonl      one line for each evaluation
    state/           the newest training state
    done.json        progress, peak memory and digests of the logs at the segment's end

Every file but the two logs is replaced as a whole. Logs are only appended to, and a kill can leave the last line
incomplete. A state records how long the logs were when it was taken, and their sha256 up to there; they are made
durable before it. So the logs are never behind the state, and before training continues they are truncated to it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
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
    """The files of one segment.

    Args:
        folder: where they are.
        check_owner: called before each write; raises where another process took the segment over.
    """

    def __init__(self, folder: Path, check_owner: Callable[[], None] = lambda: None) -> None:
        self.folder, self._check_owner = folder, check_owner
        self._state = folder / "state"

    def open(self, node: Node, *, from_start: bool = False) -> None:
        """Make the folder, and write spec.json where it is missing or damaged.

        Args:
            node: the segment.
            from_start: write spec.json anew: the segment is trained from its start.
        """
        self._check_owner()
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True)
            durable.fsync(self.folder.parent)
        if from_start or self.spec is None:
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
        """The content of spec.json, None where it is missing or damaged."""
        return self._read("spec.json")

    @property
    def done(self) -> dict[str, Any] | None:
        """The content of done.json, None where it is missing (the segment is not finished) or damaged."""
        return self._read("done.json")

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return durable.read_json(self.folder / name)
        except durable.DamagedError:
            return None

    # The state.

    def save(self, state: TrainState, sizes: LogSizes | None = None) -> None:
        """Save a state, after making durable the logs that led to it.

        Args:
            state: the state.
            sizes: how long the logs were when it was taken; by default they are as long as now.
        """
        sizes = self.log_sizes() if sizes is None else sizes
        for log in sizes:
            durable.fsync(self._log(log))
        self._check_owner()
        save_state(state, self._state, self._log_digests(sizes), self._check_owner)

    def finish(self, state: TrainState, peak_memory_bytes: int) -> None:
        """Save the final state, then write done.json."""
        self.save(state)
        done = {
            "progress": asdict(state.progress),
            "peak_memory_bytes": peak_memory_bytes,
            "logs": self._log_digests(self.log_sizes()),
        }
        self._check_owner()
        durable.write_json(self.folder / "done.json", done)

    def reopen(self) -> None:
        """Remove done.json: the segment has to be finished again, from the state that is there."""
        (self.folder / "done.json").unlink(missing_ok=True)

    def state(self) -> TrainState:
        """The newest good state; raises a StateError where there is none."""
        return load_state(self._state)

    @property
    def has_state(self) -> bool:
        """Whether there is a state, good or damaged."""
        return has_state(self._state)

    @property
    def tokens_saved(self) -> int:
        """Tokens of the newest good state, 0 where there is none."""
        try:
            return read_progress(find_good_state(self._state)[0]).tokens
        except StateError:
            return 0

    def recover_state(self, *, verify: bool) -> list[str]:
        """Leave the newest good state and nothing beside it; returns the problems of the others."""
        self._check_owner()
        return recover(self._state, verify=verify)

    def remove_state(self) -> None:
        """Remove the state."""
        self._check_owner()
        remove_state(self._state)

    def final_state_problem(self, *, verify: bool = False) -> str | None:
        """The problem of the state, None where it is good and, if the segment is done, its last.

        Args:
            verify: hash every byte.
        """
        try:
            found, problems = find_good_state(self._state, verify=verify)
            if problems:
                return problems[0]
            tokens, done = read_progress(found).tokens, self.done
        except StateError as error:
            return str(error)
        if done is not None and tokens != done["progress"]["tokens"]:
            return f"{found} is of {tokens:,} tokens, and the segment is done at {done['progress']['tokens']:,}"
        return None

    # The logs.

    def append(self, log: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append lines to `metrics` or `evals`."""
        if lines:
            self._check_owner()
            durable.append(self._log(log), "".join(json.dumps(line) + "\n" for line in lines).encode())

    def lines(self, log: str) -> list[dict[str, Any]]:
        """The lines of `metrics` or `evals`, up to the first that is incomplete."""
        return [line for _, line in self._complete_lines(log)]

    def truncate_logs(self, progress: Progress) -> None:
        """Remove the lines after the state from which training continues."""
        self._check_owner()
        for log in LOGS:
            path = self._log(log)
            if path.exists():
                kept = b"".join(
                    text for text, line in self._complete_lines(log) if line["tokens"] <= progress.tokens
                )
                if len(kept) != path.stat().st_size:
                    durable.write_whole(path, kept)

    def log_sizes(self) -> dict[str, int]:
        """Bytes of each log that exists."""
        return {log: self._log(log).stat().st_size for log in LOGS if self._log(log).exists()}

    def _log(self, log: str) -> Path:
        return self.folder / f"{log}.jsonl"

    def _complete_lines(self, log: str) -> list[tuple[bytes, dict[str, Any]]]:
        path, complete = self._log(log), []
        for text in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
            try:
                line = json.loads(text)
            except ValueError:
                break
            if not (isinstance(line, dict) and isinstance(line.get("tokens"), int) and text.endswith(b"\n")):
                break
            complete.append((text, line))
        return complete

    def _log_digests(self, sizes: LogSizes) -> dict[str, Any]:
        return {
            log: {"bytes": size, "sha256": durable.sha256(self._log(log), size)} for log, size in sizes.items()
        }

    # Damage.

    def json_problems(self) -> list[str]:
        """The damage of spec.json and done.json, file and reason."""
        problems = []
        for name in ("spec.json", "done.json"):
            try:
                durable.read_json(self.folder / name)
            except durable.DamagedError as error:
                problems.append(str(error))
        return problems

    def log_problems(self) -> list[str]:
        """The damage of the logs, file and reason.

        The logs of a finished segment are compared with the digests in done.json, those of any other with the
        digests in its state, which cover them up to where the state was taken.
        """
        if self.done is not None:
            return self._compare_logs(self.done.get("logs", {}), are_complete=True)
        try:
            found, _ = find_good_state(self._state)
            return self._compare_logs(read_log_digests(found), are_complete=False)
        except StateError:
            return []  # without a state, the logs are written from the start again

    def _compare_logs(self, digests: Mapping[str, Any], *, are_complete: bool) -> list[str]:
        problems = []
        for log, expected in digests.items():
            path = self._log(log)
            size = path.stat().st_size if path.exists() else 0
            if size < expected["bytes"] or (are_complete and size > expected["bytes"]):
                problems.append(f"{path} is damaged: it has {size:,} bytes, {expected['bytes']:,} were written")
            elif durable.sha256(path, expected["bytes"]) != expected["sha256"]:
                problems.append(f"{path} is damaged: its sha256 is not that of what was written")
        return problems
