"""Run a study in its folder: compile, train, collect, judge, draw, each from the result of the one before.

    tree    = compile_study(study, data)          which segments there are
    jobs    = make_jobs(tree, data, folder)       what a worker needs for each
              train_tree(tree, store, jobs, ...)  trains those that are not there yet
    results = with_verdicts(collect(tree, store, data))
              write_results(results, folder), draw(results, folder)

The folder is locked all the while. After an interruption, results and report are written as far as they go. Where
a trigger then asks for a larger study, the same steps follow for that one (see `triggers`).
"""

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepen import __version__
from deepen.data.shards import Dataset
from deepen.data.sources import open_data
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.results.collect import collect
from deepen.study.results.schema import RESULTS_FILE, Results, ResultsError, load_results, write_results
from deepen.study.results.verdicts import with_verdicts
from deepen.study.run.errors import Interrupted, WorkersLostError
from deepen.study.run.job import make_jobs
from deepen.study.run.scheduler import OnProgress, train_tree
from deepen.study.run.triggers import Trigger, next_study
from deepen.study.store.lineage import Lineage
from deepen.study.store.lock import WriterLock
from deepen.study.store.retention import RetentionPolicy
from deepen.study.store.study_folder import Store
from deepen.train.device import machine_name
from deepen.train.distributed.failure import ProcessLostError
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.limits import usable_cores

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a study is run. None of it changes what the study is.

    Attributes:
        executor: where segments are trained, and how many at once.
        threads: CPU threads of each segment.
        policy: which states stay although they are not needed.
        verify: hash every byte of every state first.
        world: the processes that train each segment together, led by this one.
        triggers: what asks for more once the results are there.
        on_progress: called with the FLOPs trained and the FLOPs in all.
        draw: called with the results and the study's folder once they are written.
    """

    executor: ExecutorChoice
    threads: int
    policy: RetentionPolicy
    verify: bool = False
    world: World = ONE_PROCESS
    triggers: tuple[Trigger, ...] = ()
    on_progress: OnProgress = lambda trained, total: None
    draw: Callable[[Results, Path], object] = lambda results, folder: None


def run_study(study: Study, store: Store, options: RunOptions, dataset: Dataset | None = None) -> Results:
    """Run or continue a study in its folder.

    Args:
        study: what to train and compare.
        store: its folder.
        options: how.
        dataset: the study's data, where it is opened already.

    Raises:
        StoreError: the folder is in use, or another study's.
        Interrupted: SIGINT or SIGTERM came; the results so far are written.
        RunError: training cannot continue; all that was complete is kept.
    """
    with store.lock() as lock:
        if dataset is None:
            dataset = open_data(study.data, study.model.vocab, store.folder / "data")
        clock = _Clock(_recorded_wall_seconds(store.folder), options.on_progress)
        while True:
            results = _run_once(study, store, dataset, options, lock, clock)
            larger = next_study(study, results, options.triggers)
            if larger is None:
                return results
            study = larger


def _run_once(
    study: Study, store: Store, dataset: Dataset, options: RunOptions, lock: WriterLock, clock: "_Clock"
) -> Results:
    """Run a study as it is, without asking triggers."""
    tree = compile_study(study, dataset.fingerprint)
    store.open(study, hash_inputs(study, dataset), _provenance(tree, options))
    try:
        _train(tree, store, dataset, options, lock, clock)
    except Interrupted:
        _publish(tree, store, dataset, options, clock)
        raise
    return _publish(tree, store, dataset, options, clock)


def hash_inputs(study: Study, dataset: Dataset | None) -> dict[str, Any]:
    """Content hashes of every file that the results of a study depend on, as study.json records them.

    Args:
        study: names the files.
        dataset: the data, None while it is not known.
    """
    inputs: dict[str, Any] = {"tasks": {file.task: file.sha256 for file in study.evaluation.tasks}}
    return inputs if dataset is None else {"data": dataset.identity, **inputs}


def _train(
    tree: Tree, store: Store, dataset: Dataset, options: RunOptions, lock: WriterLock, clock: "_Clock"
) -> None:
    """Train what is pending; where the writer before died or its disk failed, every state is hashed first."""
    world = options.world
    try:
        train_tree(
            tree,
            store,
            make_jobs(tree, dataset, store.folder),
            options.executor,
            threads=options.threads if world.size == 1 else max(1, usable_cores() // world.local_size),
            policy=options.policy,
            verify=options.verify or lock.unverified,
            world=world,
            on_progress=clock.report,
        )
    except (OSError, WorkersLostError, ProcessLostError):
        lock.unverified = True  # what is on disk may not be what was written: the next run hashes it
        raise
    except Interrupted:
        lock.unverified = False
        raise
    lock.unverified = False


def _publish(tree: Tree, store: Store, dataset: Dataset, options: RunOptions, clock: "_Clock") -> Results:
    """Collect, judge and draw what is trained so far."""
    collected = collect(tree, store, dataset, machine=machine_name(), wall_seconds=clock.wall_seconds)
    results = with_verdicts(collected)
    write_results(results, store.folder)
    options.draw(results, store.folder)
    return results


def _provenance(tree: Tree, options: RunOptions) -> dict[str, Any]:
    """What study.json records beside the study and its inputs: how it was run, versions, machine, lineage."""
    return {
        "data_fingerprint": tree.data_fingerprint,
        "executor": options.executor.kind,
        "jobs": options.executor.jobs,
        "threads": options.threads,
        "processes": options.world.size,
        "shard": options.world.shard,
        "versions": {"deepen": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": machine_name(),
        "lineage": Lineage.from_tree(tree).to_json(),
    }


def _recorded_wall_seconds(folder: Path) -> float:
    """Wall time of the runs that results.json is of; 0 where it is missing or damaged."""
    if not (folder / RESULTS_FILE).exists():
        return 0.0
    try:
        return load_results(folder).regime.wall_seconds or 0.0
    except ResultsError as error:
        _log.warning("%s; it is written anew, and its wall time is counted from now", error.problem)
        return 0.0


class _Clock:
    """Wall time of all runs of a study; a run that trains nothing adds none."""

    def __init__(self, seconds_before: float, on_progress: OnProgress) -> None:
        self._seconds_before, self._began, self._on_progress = seconds_before, time.monotonic(), on_progress
        self._first: int | None = None
        self._last = 0

    def report(self, trained: int, total: int) -> None:
        """Note how far training is, and report it."""
        if self._first is None:
            self._first = trained
        self._last = trained
        self._on_progress(trained, total)

    @property
    def wall_seconds(self) -> float:
        """Seconds of the earlier runs and of this one."""
        trained_here = self._first is not None and self._last > self._first
        return self._seconds_before + (time.monotonic() - self._began if trained_here else 0.0)
