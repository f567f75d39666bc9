"""Train a segment of a study again, compare its losses with the recorded ones, and its logs with the results.

    verification = verify(Store(folder), draw=7)
    verification.agreement           # Agreement.BIT_FOR_BIT

Three things are checked: that the recorded arms lead to this segment (the study is compiled again, and a key is
the hash of everything that leads to its segment), that training it gives the recorded losses, and that
results.json has the losses of the logs. Nothing is written in the study's folder.
"""

import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from deepen.data.description import FILE
from deepen.data.shards import Dataset
from deepen.data.sources import open_data
from deepen.errors import InvalidValueError
from deepen.study.compile.tree import Node, Tree
from deepen.study.define.study import Study
from deepen.study.run.job import Job, make_jobs
from deepen.study.run.ownership import refuse_while_trained
from deepen.study.run.progress import OnProgress, Preparation, as_preparation, ignore_progress
from deepen.study.run.start import open_start
from deepen.study.store.lock import keep_writers_out
from deepen.study.store.log_lines import Line
from deepen.study.store.study_folder import Store
from deepen.study.verify.agreement import (
    Agreement,
    Allowance,
    QuantityComparison,
    compare_evaluations,
    compare_steps,
    count_telling_steps,
)
from deepen.study.verify.choice import Choice, check_records, choose, read_tree
from deepen.study.verify.replay import Replay, move_by_rounding, replay
from deepen.study.verify.results import ResultsComparison, compare_results
from deepen.train.device import machine_name, pick_device
from deepen.train.progress import Progress
from deepen.train.state import TrainState, initial_state

_CORES = re.compile(r", \d+ cores")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What training a segment again has shown.

    Attributes:
        key: the segment.
        label: the label of its phase.
        arms: the arms that contain it.
        seed: its seed.
        start, end: where it begins and ends, in tokens of the run.
        candidates: from how many segments it was drawn; 1 if it was named.
        trained_from: the key of the segment from whose saved state training began; empty for a new model.
        tokens: tokens that were trained.
        steps: the steps that were compared: those of the segment, and of the segments before it that were trained.
        telling_steps: how many of these, from the first, another training could not hide in by rounding.
        differences: how this machine differs from the one that trained the study; empty if it is of its kind.
        comparisons: the quantities that were compared.
        not_compared: for each task that was left out, the reason.
        results: the comparison of results.json with the logs.
        machine: this machine.
    """

    key: str
    label: str
    arms: tuple[str, ...]
    seed: int
    start: int
    end: int
    candidates: int
    trained_from: str
    tokens: int
    steps: int
    telling_steps: int
    differences: tuple[str, ...]
    comparisons: tuple[QuantityComparison, ...]
    not_compared: Mapping[str, str]
    results: ResultsComparison
    machine: str

    @property
    def agreement(self) -> Agreement:
        """Whether all that was trained again agrees: the worst of the comparisons."""
        found = {comparison.agreement for comparison in self.comparisons}
        return next(each for each in reversed(Agreement) if each in found)

    @property
    def is_confirmed(self) -> bool:
        """Whether the losses agree and results.json follows from the logs."""
        return self.agreement is not Agreement.DIFFERS and not self.results.problems


def verify(
    store: Store,
    *,
    key: str = "",
    arm: str = "",
    draw: int = 0,
    steps: int | None = None,
    from_start: bool = False,
    data: str = "",
    study: Study | None = None,
    check_stop: Callable[[], None] = lambda: None,
    on_progress: OnProgress = ignore_progress,
) -> Verification:
    """Train a segment of a study again and compare.

    Args:
        store: the study's folder.
        key, arm, draw, from_start: see `choose`.
        steps: train only so many steps of the segment; None for all.
        data: where the study's data is here; empty for the path that the study records.
        study: the same study with the functions of its own recipes; see `read_tree`.
        check_stop: called after each step; what it raises ends the training.
        on_progress: called after each step.

    Raises:
        InvalidValueError: there is no such segment, its data is not here, or the folder is in use.
        RunError: the segment cannot be trained here.
    """
    with keep_writers_out(store.folder), tempfile.TemporaryDirectory() as scratch:
        refuse_while_trained(store.folder)
        tree = read_tree(store, study)
        choice = choose(tree, store, key=key, arm=arm, draw=draw, from_start=from_start)
        check_records(choice, store)
        dataset = _open_data(tree.study, store, data, Path(scratch), on_progress)
        torch.set_num_threads(store.recorded("threads") or torch.get_num_threads())
        jobs, not_compared = _make_jobs(tree, choice, dataset, store)
        end = choice.node.segment.end
        if steps is not None:
            end = min(end, choice.node.segment.start + steps * choice.node.segment.batch_tokens)
        course = _Course(jobs=jobs, end=end, check_stop=check_stop, on_progress=on_progress)
        differences = describe_differences(store)
        return _compare(course, store, choice, not_compared, differences, compare_results(tree, store, dataset))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Course:
    """The training from a state to the end of the segment, or to the last of its steps that is compared."""

    jobs: tuple[Job, ...]
    end: int
    check_stop: Callable[[], None]
    on_progress: OnProgress

    @property
    def start(self) -> int:
        return self.jobs[0].node.segment.start

    def train(self, state: TrainState, what: str, *, evaluates: bool = True) -> Replay:
        """Train all of it; the result has the steps of all segments, and the evaluations of the last."""
        steps: list[Line] = []

        def report(progress: Progress) -> None:
            self.check_stop()
            share = (progress.tokens - self.start) / (self.end - self.start)
            self.on_progress(Preparation(what, share, f"{progress.tokens - self.start:,} tokens"))

        for job in self.jobs:
            is_last = job is self.jobs[-1]
            until = self.end if is_last else job.node.segment.end
            played = replay(job, state, until=until, evaluates=evaluates and is_last, on_step=report)
            steps, state = [*steps, *played.steps], played.state
        return replace(played, steps=steps)


def _compare(
    course: _Course,
    store: Store,
    choice: Choice,
    not_compared: Mapping[str, str],
    differences: tuple[str, ...],
    results: ResultsComparison,
) -> Verification:
    """Train, train again from moved weights where numbers are rounded differently here, and compare."""
    node, end = choice.node, course.end
    recorded = [
        line for each in choice.path for line in store.segment(each.key).lines("metrics") if line["tokens"] <= end
    ]
    evaluations = [
        line
        for line in store.segment(node.key).lines("evals")
        if line["tokens"] <= end and line["task"] not in not_compared
    ]
    state = _load_first_state(choice, course.jobs[0], store)
    again = course.train(state, "training again")
    compared = (*compare_steps(recorded, again.steps), *compare_evaluations(evaluations, again.evaluations))
    telling = len(recorded)
    if differences and any(each.agreement is Agreement.DIFFERS for each in compared):
        precision = course.jobs[0].settings.precision
        moved = course.train(move_by_rounding(state, precision), "measuring what rounding does", evaluates=False)
        allowance = Allowance.measure(again.steps, moved.steps, precision)
        compared = (
            *compare_steps(recorded, again.steps, allowance),
            *compare_evaluations(evaluations, again.evaluations, allowance),
        )
        telling = count_telling_steps(recorded, allowance)
    return Verification(
        key=node.key,
        label=node.segment.label,
        arms=choice.arms,
        seed=node.seed,
        start=node.segment.start,
        end=node.segment.end,
        candidates=choice.candidates,
        trained_from=choice.start or "",
        tokens=end - course.start,
        steps=len(recorded),
        telling_steps=telling,
        differences=differences,
        comparisons=compared,
        not_compared=not_compared,
        results=results,
        machine=machine_name(),
    )


def describe_differences(store: Store) -> tuple[str, ...]:
    """How this machine differs from the one that trained a study, where that changes how numbers are rounded."""
    recorded_machine = str(store.recorded("machine") or "an unknown machine")
    here = machine_name()
    differences = []
    if _CORES.sub("", recorded_machine) != _CORES.sub("", here):
        differences.append(f"it was trained on {recorded_machine}; this is {here}")
    if (processes := store.recorded("processes") or 1) > 1:
        differences.append(f"it was trained by {processes} processes, here by one")
    if pick_device().type == "cuda":
        differences.append("a GPU does not add numbers in a fixed order")
    return tuple(differences)


def _open_data(study: Study, store: Store, data: str, scratch: Path, on_progress: OnProgress) -> Dataset:
    """The study's data, which must have the recorded fingerprint; nothing is written in the study's folder."""
    kept = store.folder / "data"
    dataset = open_data(
        data or study.data,
        study.model.vocab,
        kept if (kept / FILE).exists() else scratch / "data",
        as_preparation(on_progress),
        dtype=study.data_dtype,
        tokenizer=study.tokenizer,
    )
    if dataset.fingerprint != store.recorded("data_fingerprint"):
        raise InvalidValueError(
            f"is {data or study.data}, whose tokens are not those that {store.folder} was trained on",
            field="data",
            value=data or study.data,
            remedy="name the folder of the study's own shards",
        )
    return dataset


def _make_jobs(
    tree: Tree, choice: Choice, dataset: Dataset, store: Store
) -> tuple[tuple[Job, ...], Mapping[str, str]]:
    """The jobs of the segments to train, without tasks whose files are not here, and why they are left out."""
    hashes = (store.recorded("inputs") or {}).get("tasks", {})
    missing = {}
    for file in tree.study.evaluation.tasks:
        if not file.path.is_file():
            missing[file.task] = f"{file.path} is not here"
        elif file.sha256 != hashes.get(file.task):
            missing[file.task] = f"{file.path} has another content"
    jobs = make_jobs(tree, dataset, store.folder, hashes)
    return (
        tuple(replace(jobs[node.key], node=_without_tasks(node, missing)) for node in choice.path),
        missing,
    )


def _without_tasks(node: Node, names: Collection[str]) -> Node:
    points = (
        replace(point, tasks=tuple(task for task in point.tasks if task not in names))
        for point in node.evaluations
    )
    return replace(node, evaluations=tuple(points))


def _load_first_state(choice: Choice, job: Job, store: Store) -> TrainState:
    """The state from which the training begins."""
    if choice.start is not None:
        return store.segment(choice.start).state()
    if job.start is not None:
        return open_start(job.start, job.node.seed).load()
    return initial_state(job.model, job.node.segment.depth, job.node.seed)
