"""Check, repair and prune a study's folder. Repair runs before each training; check and prune are commands."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.os_errors import explain
from deepen.study.compile.tree import Node
from deepen.study.store.lineage import Lineage
from deepen.study.store.retention import RetentionPolicy
from deepen.study.store.segment_folder import LOGS, SegmentFolder
from deepen.study.store.study_folder import Store
from deepen.train.checkpoint.state_check import SUFFIXES

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentCheck:
    """The result of checking one segment.

    Attributes:
        key: key of the segment.
        label: label of its phase.
        done: whether it was trained to its end.
        state: `good`, `damaged`, `unreadable` now, or `none` (not yet saved, or pruned).
        steps: number of steps in metrics.jsonl.
        problems: for each damaged file, its name and the reason.
    """

    key: str
    label: str
    done: bool
    state: str
    steps: int
    problems: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCheck:
    """The result of checking a study: its segments, and the problems of its own files."""

    segments: Sequence[SegmentCheck]
    problems: Sequence[str]

    @property
    def all_problems(self) -> list[str]:
        """For every damaged file, its name and the reason."""
        return [*self.problems, *(problem for segment in self.segments for problem in segment.problems)]


def check(store: Store) -> StudyCheck:
    """Check every file of a study that has a recorded hash, and every line of its logs."""
    problems = []
    for name in ("study.json", "results.json"):
        path = store.folder / name
        try:
            if durable.read_json(path) is None and name == "study.json":
                problems.append(f"{path} is missing")
        except durable.DamagedError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(_describe_unreadable(error))
    segments = [_check_segment(store.segment(key)) for key in store.segment_keys()]
    return StudyCheck(segments=segments, problems=problems)


def _check_segment(folder: SegmentFolder) -> SegmentCheck:
    try:
        return _check_readable_segment(folder)
    except OSError as error:
        problem = _describe_unreadable(error)
        return SegmentCheck(
            key=folder.folder.name, label="", done=False, state="unreadable", steps=0, problems=[problem]
        )


def _describe_unreadable(error: OSError) -> str:
    problem, remedy = explain(error)
    return f"{error.filename} cannot be read: {problem}" + (f"; {remedy}" if remedy else "")


def _check_readable_segment(folder: SegmentFolder) -> SegmentCheck:
    spec, done = folder.spec or {}, folder.done
    problems = folder.json_problems()
    if not (folder.folder / "spec.json").exists() and any(folder.folder.iterdir()):
        problems.append(f"{folder.folder / 'spec.json'} is missing")
    state = "none"
    if folder.has_state:
        problem = folder.final_state_problem(verify=True)
        state = "damaged" if problem else "good"
        problems += [problem] if problem else []
    problems += folder.log_problems() or list(_find_disorder(folder, spec, done))
    return SegmentCheck(
        key=folder.folder.name,
        label=str(spec.get("label", "")),
        done=done is not None,
        state=state,
        steps=len(folder.lines("metrics")),
        problems=problems,
    )


def _find_disorder(folder: SegmentFolder, spec: dict[str, Any], done: dict[str, Any] | None) -> Iterator[str]:
    """Find logs in which steps or evaluations are missing, repeated or out of order.

    In an unfinished segment, an incomplete last line is not a problem: a kill leaves one, and it is truncated.
    """
    for log in LOGS:
        path, lines = folder.folder / f"{log}.jsonl", folder.lines(log)
        points = [(line["tokens"], line.get("task", "")) for line in lines]
        tokens = [at for at, _ in points]
        if log == "evals" and (len(set(points)) != len(points) or tokens != sorted(tokens)):
            yield f"{path} is damaged: evaluations are repeated or out of order"
        if log != "metrics":
            continue
        steps = [int(line.get("step", -1)) for line in lines]
        if steps and steps != list(range(steps[0], steps[0] + len(steps))):
            yield f"{path} is damaged: steps are missing, repeated or out of order"
        if lines and spec and lines[0]["tokens"] != spec["recipe"]["start"] + spec["recipe"]["batch_tokens"]:
            yield f"{path} is damaged: it does not begin at the segment's first step"
        if done is not None and (not lines or lines[-1]["tokens"] != done["progress"]["tokens"]):
            yield f"{path} is damaged: it does not reach the segment's end"


def repair(nodes: Iterable[Node], store: Store, *, verify: bool) -> None:
    """Find damage before training continues, warn about it, and mark the damaged segments for training.

    Args:
        nodes: the segments to look at.
        store: the study's folder.
        verify: hash every byte of every state, instead of checking sizes and headers.
    """
    for node in nodes:
        folder = store.segment(node.key)
        if not folder.folder.is_dir():
            continue
        for problem in folder.recover_state(verify=verify):
            _log.warning("%s; continuing from the newest good state before it", problem)
        for problem in folder.json_problems():
            _log.warning("%s; it is rewritten", problem)
        folder.open(node)
        if (folder.folder / "done.json").exists():
            problems = folder.log_problems() if folder.done else []
            if folder.has_state and (state_problem := folder.final_state_problem()):
                problems.append(state_problem)
            for problem in problems:
                _log.warning("%s; the segment is trained again", problem)
            if problems or folder.done is None:
                folder.reopen()


def prune(store: Store, policy: RetentionPolicy) -> dict[str, int]:
    """Remove the states that a policy does not keep, and the remains of interrupted saves.

    Returns:
        Bytes freed, by path relative to the study's folder.

    Raises:
        StoreError: study.json has no lineage.
    """
    lineage = Lineage.read(store)
    freed: dict[str, int] = {}
    for key in store.segment_keys():
        folder = store.segment(key)
        if folder.has_state and folder.final_state_problem(verify=True) is not None:
            continue
        if folder.has_state and lineage.can_prune(key, store, policy, verify=True):
            freed |= _measure_states(store, folder.folder, SUFFIXES)
            folder.remove_state()
        else:
            freed |= _measure_states(store, folder.folder, SUFFIXES[1:])
            folder.recover_state(verify=False)
    return freed


def _measure_states(store: Store, segment: Path, suffixes: Sequence[str]) -> dict[str, int]:
    """Bytes of the existing state folders of a segment, by path relative to the study's folder."""
    folders = [segment / f"state{suffix}" for suffix in suffixes if (segment / f"state{suffix}").is_dir()]
    return {
        str(folder.relative_to(store.folder)): sum(path.stat().st_size for path in folder.iterdir())
        for folder in folders
    }
