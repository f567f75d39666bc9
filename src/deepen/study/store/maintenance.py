"""Looking after a study's folder: is all of it whole, and what may go. Nothing here trains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen import durable
from deepen.study.compile.tree import Tree
from deepen.study.store.retention import Lineage, final_state_problem
from deepen.study.store.segment_folder import LOGS, SegmentFolder
from deepen.study.store.study_folder import Store, warn
from deepen.train.checkpoint.state_folder import SUFFIXES


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentCheck:
    """What a check found of one segment.

    Attributes:
        done: whether it was trained to its end.
        state: `good`, `damaged`, or `none` (not yet saved, or no longer needed).
        steps: lines of metrics.jsonl.
        problems: file and reason of each damage.
    """

    key: str
    label: str
    done: bool
    state: str
    steps: int
    problems: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCheck:
    """What a check found: of each segment, and of the files of the study itself."""

    segments: Sequence[SegmentCheck]
    problems: Sequence[str]

    @property
    def all_problems(self) -> list[str]:
        """Every damage, file and reason."""
        return [*self.problems, *(problem for segment in self.segments for problem in segment.problems)]


def check_store(store: Store) -> StudyCheck:
    """Hash every file that says what it should be, and read every log."""
    problems = []
    for name in ("study.json", "results.json"):
        path = store.folder / name
        try:
            if durable.read_json(path) is None and name == "study.json":
                problems.append(f"{path} is missing")
        except durable.DamagedError as error:
            problems.append(str(error))
    segments = [_check_segment(store.segment(key)) for key in store.segment_keys()]
    return StudyCheck(segments=segments, problems=problems)


def _check_segment(folder: SegmentFolder) -> SegmentCheck:
    spec, done = folder.spec or {}, folder.done
    problems = folder.damaged_json()
    if not (folder.folder / "spec.json").exists() and any(folder.folder.iterdir()):
        problems.append(f"{folder.folder / 'spec.json'} is missing")
    state = "none"
    if folder.has_state:
        problem = final_state_problem(folder, verify=True)
        state = "damaged" if problem else "good"
        problems += [problem] if problem else []
    problems += folder.damaged_logs() or list(_out_of_order(folder, spec, done))
    return SegmentCheck(
        key=folder.folder.name,
        label=str(spec.get("label", "")),
        done=done is not None,
        state=state,
        steps=len(folder.lines("metrics")),
        problems=problems,
    )


def _out_of_order(folder: SegmentFolder, spec: dict[str, Any], done: dict[str, Any] | None) -> Iterator[str]:
    """Where the logs do not tell each step, and each evaluation, once and in order.

    A last line that is half is no damage unless the segment is done: a kill leaves such, going on cuts it off.
    """
    for log in LOGS:
        path, lines = folder.folder / f"{log}.jsonl", folder.lines(log)
        points = [(line["tokens"], line.get("task", "")) for line in lines]
        tokens = [at for at, _ in points]
        if log == "evals" and (len(set(points)) != len(points) or tokens != sorted(tokens)):
            yield f"{path} is damaged: its evaluations are not there once each and in order"
        if log != "metrics":
            continue
        steps = [int(line.get("step", -1)) for line in lines]
        if steps and steps != list(range(steps[0], steps[0] + len(steps))):
            yield f"{path} is damaged: its steps are not there once each and in order"
        if lines and spec and lines[0]["tokens"] != spec["recipe"]["start"] + spec["recipe"]["batch_tokens"]:
            yield f"{path} is damaged: it does not begin at the segment's first step"
        if done is not None and (not lines or lines[-1]["tokens"] != done["progress"]["tokens"]):
            yield f"{path} is damaged: it does not go to the segment's end"


def repair(tree: Tree, store: Store, *, verify: bool) -> None:
    """Find what is damaged before anything is built on it, say so, and leave it to be trained again."""
    for node in tree.nodes.values():
        folder = store.segment(node.key)
        if not folder.folder.is_dir():
            continue
        for problem in folder.recover_state(verify=verify):
            warn(f"{problem}; going on from the newest good state before it")
        for problem in folder.damaged_json():
            warn(f"{problem}; it is written anew")
        folder.open(node)  # says again what a damaged spec.json said
        if (folder.folder / "done.json").exists():
            problems = folder.damaged_logs() if folder.done else []
            if folder.has_state and (problem_at_end := final_state_problem(folder)):
                problems.append(problem_at_end)
            for problem in problems:
                warn(f"{problem}; the segment is trained again")
            if problems or folder.done is None:
                folder.forget()


def prune(store: Store, keep: str) -> dict[str, int]:
    """Remove the states that `keep` does not ask for, and what saves that were cut off left beside good ones.

    Returns:
        Bytes freed, by path below the study's folder.

    Raises:
        StoreError: the folder does not tell which states are needed.
    """
    lineage = Lineage.recorded(store)
    freed: dict[str, int] = {}
    for key in store.segment_keys():
        folder = store.segment(key)
        if folder.has_state and final_state_problem(folder, verify=True) is not None:
            continue
        if folder.has_state and lineage.can_prune(key, store, keep, verify=True):
            freed |= _bytes_of(store, folder.folder, SUFFIXES)
            folder.drop_state()
        else:
            freed |= _bytes_of(store, folder.folder, SUFFIXES[1:])
            folder.recover_state(verify=False)
    return freed


def _bytes_of(store: Store, segment: Path, suffixes: Sequence[str]) -> dict[str, int]:
    """Bytes in those state folders of a segment that there are."""
    folders = [segment / f"state{suffix}" for suffix in suffixes if (segment / f"state{suffix}").is_dir()]
    return {
        str(folder.relative_to(store.folder)): sum(path.stat().st_size for path in folder.iterdir())
        for folder in folders
    }
