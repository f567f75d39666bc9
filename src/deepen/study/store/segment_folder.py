"""A segment's folder: its description, logs and state, and done.json when it is finished.

    spec.json        description of the segment
    metrics.jsonl    one line per training step
    evals.jsonl      one line per evaluation
    state/           the newest training state
    done.json        progress, peak memory, device, micro-batch and digests of the logs at the segment's end
    decisions.json   the plateaus that ended their phase at the segment's end, if there are any
    trial.json       the loss that decided, if a trial ends at the segment's end
    diverged.json    why a trial that would end at the segment's end was given up, if it was

Logs are appended to, so a kill can leave their last line incomplete; every other file is replaced as a whole. A
state records the length of the logs at its step, and their sha256 up to there. The logs are made durable before
the state, so they are never behind it. Before training continues, they are truncated to it.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.study.compile.keys import canonical
from deepen.study.compile.tree import Node
from deepen.study.store.log_lines import parse_log_line, read_log
from deepen.train.checkpoint.state_check import StateError, find_good_state, has_state, read_header
from deepen.train.checkpoint.state_folder import load_state, open_state, recover, remove_state, save_state
from deepen.train.progress import Progress
from deepen.train.state import TrainState

LOGS = ("metrics", "evals")

_TAIL_BYTES = 8192

LogSizes = Mapping[str, int]
"""Bytes of each log."""


class SegmentFolder:
    """The files of one segment.

    Args:
        folder: the folder.
        check_owner: called before each write; raises if another process has taken the segment over.
    """

    def __init__(self, folder: Path, check_owner: Callable[[], None] = lambda: None) -> None:
        self.folder, self._check_owner = folder, check_owner
        self._state = folder / "state"

    def open(self, node: Node, *, from_start: bool = False) -> None:
        """Create the folder, and write spec.json if it is missing or damaged.

        Args:
            node: the segment.
            from_start: the segment is trained from its start, so rewrite spec.json in any case.
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
        """The content of spec.json; None if it is missing or damaged."""
        return self._read("spec.json")

    @property
    def done(self) -> dict[str, Any] | None:
        """The content of done.json; None if it is missing (the segment is not finished) or damaged."""
        return self._read("done.json")

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """The plateaus that ended their phase at the segment's end."""
        plateaus: list[dict[str, Any]] = (self._read("decisions.json") or {}).get("plateaus", [])
        return plateaus

    def record_decision(self, plateau: Mapping[str, Any]) -> None:
        """Record that a phase ends at the segment's end."""
        durable.write_json(self.folder / "decisions.json", {"plateaus": [*self.decisions, dict(plateau)]})

    @property
    def trial_loss(self) -> float | None:
        """The recorded loss of the trial that ends at the segment's end; None if none is recorded."""
        loss: float | None = (self._read("trial.json") or {}).get("loss")
        return loss

    def record_trial_loss(self, loss: float) -> None:
        """Record the loss of the trial that ends at the segment's end, from which choices follow."""
        durable.write_json(self.folder / "trial.json", {"loss": loss})

    @property
    def has_diverged(self) -> bool:
        """Whether the trial that would end at the segment's end was given up."""
        return self._read("diverged.json") is not None

    def record_divergence(self, reason: str) -> None:
        """Record why the trial that would end at the segment's end is given up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        durable.write_json(self.folder / "diverged.json", {"reason": reason})

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return durable.read_json(self.folder / name)
        except durable.DamagedError:
            return None

    # The state.

    def save(self, state: TrainState, sizes: LogSizes | None = None) -> None:
        """Make the logs durable, then save a state.

        Args:
            state: the state.
            sizes: sizes of the logs when the state was copied; by default their present sizes.
        """
        sizes = self.log_sizes() if sizes is None else sizes
        for log in sizes:
            durable.fsync(self._log(log))
        self._check_owner()
        save_state(state, self._state, self._log_digests(sizes), self._check_owner)

    def finish(self, state: TrainState, peak_memory_bytes: int, device: str, micro_batch_tokens: int) -> None:
        """Save the final state, then write done.json."""
        self.save(state)
        done = {
            "progress": asdict(state.progress),
            "peak_memory_bytes": peak_memory_bytes,
            "device": device,
            "micro_batch_tokens": micro_batch_tokens,
            "logs": self._log_digests(self.log_sizes()),
        }
        self._check_owner()
        durable.write_json(self.folder / "done.json", done)

    def reopen(self) -> None:
        """Remove done.json, so that the segment is finished again from its state."""
        (self.folder / "done.json").unlink(missing_ok=True)

    def state(self) -> TrainState:
        """Load the newest good state; raises a StateError if there is none."""
        return load_state(self._state)

    def open_state(self) -> TrainState:
        """The newest good state with lazy tensors, which are read before the next save replaces it.

        Raises:
            StateError: there is none.
        """
        return open_state(self._state)

    @property
    def has_state(self) -> bool:
        """Whether there is a state, good or damaged."""
        return has_state(self._state)

    @property
    def tokens_saved(self) -> int:
        """Tokens of the newest good state; 0 if there is none."""
        try:
            return read_header(find_good_state(self._state)[0]).progress.tokens
        except StateError:
            return 0

    def recover_state(self, *, verify: bool) -> list[str]:
        """Keep only the newest good state; returns the problems of the others."""
        self._check_owner()
        return recover(self._state, verify=verify)

    def remove_state(self) -> None:
        """Remove the state."""
        self._check_owner()
        remove_state(self._state)

    def final_state_problem(self, *, verify: bool = False) -> str | None:
        """The problem of the state; None if it is good and, in a finished segment, at the segment's end.

        Args:
            verify: hash every byte.
        """
        try:
            found, problems = find_good_state(self._state, verify=verify)
            if problems:
                return problems[0]
            tokens, done = read_header(found).progress.tokens, self.done
        except StateError as error:
            return str(error)
        if done is not None and tokens != done["progress"]["tokens"]:
            return f"{found} is at {tokens:,} tokens, but the segment ends at {done['progress']['tokens']:,}"
        return None

    # The logs.

    def append(self, log: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Append lines to `metrics` or `evals`."""
        if lines:
            self._check_owner()
            durable.append(self._log(log), "".join(json.dumps(line) + "\n" for line in lines).encode())

    def lines(self, log: str) -> list[dict[str, Any]]:
        """The lines of `metrics` or `evals`, up to the first incomplete one."""
        return [line for _, line in read_log(self._log(log))]

    def last_lines(self, log: str) -> list[dict[str, Any]]:
        """The last lines of a log, which its worker may be appending to; a few dozen at most."""
        try:
            with self._log(log).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().split(b"\n")
        except OSError:
            return []
        complete = lines[1 if size > _TAIL_BYTES else 0 : -1]
        return [line for text in complete if (line := parse_log_line(text)) is not None]

    def truncate_logs(self, progress: Progress) -> None:
        """Remove the lines that were logged after the state from which training continues."""
        self._check_owner()
        for log in LOGS:
            path = self._log(log)
            if path.exists():
                kept = b"".join(
                    text for text, line in read_log(self._log(log)) if line["tokens"] <= progress.tokens
                )
                if len(kept) != path.stat().st_size:
                    durable.write_whole(path, kept)

    def log_sizes(self) -> dict[str, int]:
        """Bytes of each existing log."""
        return {log: self._log(log).stat().st_size for log in LOGS if self._log(log).exists()}

    def _log(self, log: str) -> Path:
        return self.folder / f"{log}.jsonl"

    def _log_digests(self, sizes: LogSizes) -> dict[str, Any]:
        return {
            log: {"bytes": size, "sha256": durable.sha256(self._log(log), size)} for log, size in sizes.items()
        }

    # Damage.

    def json_problems(self) -> list[str]:
        """The problems of spec.json, done.json, decisions.json and trial.json."""
        problems = []
        for name in ("spec.json", "done.json", "decisions.json", "trial.json"):
            try:
                durable.read_json(self.folder / name)
            except durable.DamagedError as error:
                problems.append(str(error))
        return problems

    def log_problems(self) -> list[str]:
        """The problems of the logs.

        The logs of a finished segment are compared with the digests in done.json. Otherwise they are compared with
        the digests in the state, which cover the lines up to the state's step.
        """
        if self.done is not None:
            return self._compare_logs(self.done.get("logs", {}), are_complete=True)
        try:
            found, _ = find_good_state(self._state)
            return self._compare_logs(read_header(found).logs, are_complete=False)
        except StateError:
            return []  # without a state, the logs start again from the beginning

    def _compare_logs(self, digests: Mapping[str, Any], *, are_complete: bool) -> list[str]:
        problems = []
        for log, expected in digests.items():
            path = self._log(log)
            size = path.stat().st_size if path.exists() else 0
            if size < expected["bytes"] or (are_complete and size > expected["bytes"]):
                problems.append(f"{path} is damaged: it has {size:,} bytes, {expected['bytes']:,} were written")
            elif durable.sha256(path, expected["bytes"]) != expected["sha256"]:
                problems.append(f"{path} is damaged: its sha256 differs from the recorded one")
        return problems
