"""Run a study in its folder: compile, train, collect, judge, draw. Each step takes the result of the previous one.

    tree    = compile_study(study, fingerprint, ...)      the segments
    jobs    = make_jobs(tree, dataset, folder)            the message to a worker, for each segment
              train_tree(WorkPlan(tree, jobs), ...)       trains the pending segments
    results = judge_as_planned(collect(tree, store, dataset, ...), plan)
              write_results(results, folder), draw(results, folder)

The folder is locked during all steps. Where a plateau may end a phase, or trials choose a rate, training decides:
the first two steps are repeated with each decision, while other segments are trained. After an interruption, the
results so far are written and drawn. If a trigger asks for a larger study, the same steps follow for it (see
`triggers`).
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
from deepen.study.compile.tree import Tree, hash_own_recipes
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.judge.looks import SeedPlan, judge_as_planned
from deepen.study.results.collect import collect
from deepen.study.results.results_file import find_results, write_results
from deepen.study.results.schema import Results
from deepen.study.run.errors import Interrupted, WorkersLostError
from deepen.study.run.forecast import Speed, warn_of_days, warn_of_epochs
from deepen.study.run.growth_warnings import warn_of_growth
from deepen.study.run.planner import Planner
from deepen.study.run.progress import OnProgress, Preparation, StudyProgress, as_preparation, ignore_progress
from deepen.study.run.scheduler import train_tree
from deepen.study.run.start import keep_tokenizer_settings
from deepen.study.run.triggers import Trigger, next_study
from deepen.study.store.lock import WriterLock
from deepen.study.store.retention import RetentionPolicy
from deepen.study.store.study_folder import Store
from deepen.train.device import machine_name
from deepen.train.distributed.failure import ProcessLostError
from deepen.train.distributed.processes import ONE_PROCESS, World

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Options of a run; they are not part of the study's identity.

    Attributes:
        executor: where segments are trained, and how many in parallel.
        threads: CPU threads of each process that trains.
        policy: which states stay although they are not needed.
        verify: hash every byte of every state first.
        world: the processes that train each segment together, led by this one.
        triggers: functions that may extend the study after its results are known.
        on_progress: called about once a second; it must not raise.
        track: names of trackers that show the runs.
        command: the command line that runs the study, recorded in its results; empty without one.
        measure_speed: measures how fast a segment of a study is trained; None if it cannot be known.
        draw: called with the results and the study's folder after the results are written.
    """

    executor: ExecutorChoice
    threads: int
    policy: RetentionPolicy
    verify: bool = False
    world: World = ONE_PROCESS
    triggers: tuple[Trigger, ...] = ()
    on_progress: OnProgress = ignore_progress
    track: tuple[str, ...] = ()
    command: str = ""
    measure_speed: Callable[[Study], Speed | None] = lambda study: None
    draw: Callable[[Results, Path], object] = lambda results, folder: None


def run_study(study: Study, store: Store, options: RunOptions, dataset: Dataset | None = None) -> Results:
    """Run or continue a study in its folder.

    Args:
        study: the study.
        store: its folder.
        options: options of the run.
        dataset: the study's data, if it is already open.

    Raises:
        StoreError: the folder is in use, or holds another study.
        Interrupted: a signal asked to stop; the results so far are written.
        RunError: training cannot continue; every saved state is kept.
    """
    with store.lock() as lock:
        if dataset is None:
            report = as_preparation(options.on_progress)
            dataset = open_data(
                study.data,
                study.model.vocab,
                store.folder / "data",
                report,
                dtype=study.data_dtype,
                tokenizer=study.tokenizer,
            )
        before = find_results(store.folder, on_damage="the looks and the wall time of earlier runs are lost")
        clock = _Clock(before.regime.wall_seconds or 0.0 if before else 0.0, options.on_progress)
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
    inputs = hash_inputs(study, dataset)
    planner = Planner(study, store, dataset, inputs, _provenance(options))
    if study.start is not None:
        keep_tokenizer_settings(study.start, store.folder / "tokenizer")
    warn_of_growth(planner.tree)
    warn_of_epochs(planner.tree, len(dataset.tokens("train")))
    warn_of_days(planner.expected_tree, store, options.executor.jobs or 1, lambda: options.measure_speed(study))
    try:
        _train(planner, store, options, lock, clock)
    except Interrupted as interrupted:
        if planner.tree.tuning.arms:
            planner.refresh()  # for the losses of the trials that are over
        interrupted.results = _publish(planner.tree, store, planner.dataset, options, clock)
        raise
    return _publish(planner.tree, store, planner.dataset, options, clock)


def hash_inputs(study: Study, dataset: Dataset | None) -> dict[str, Any]:
    """Content hashes of all files and recipes that a study's results depend on, as study.json records them.

    Args:
        study: the study.
        dataset: its data; None if it is not open yet.
    """
    inputs: dict[str, Any] = {
        "tasks": {file.task: file.sha256 for file in study.evaluation.tasks},
        "recipes": hash_own_recipes(study),
    }
    return inputs if dataset is None else {"data": dataset.identity, **inputs}


def _train(planner: Planner, store: Store, options: RunOptions, lock: WriterLock, clock: "_Clock") -> None:
    """Train pending segments; if an earlier writer died or its disk failed, hash every state first."""
    try:
        train_tree(
            planner.plan,
            store,
            options.executor,
            replan=planner.replan,
            threads=options.threads,
            policy=options.policy,
            verify=options.verify or lock.unverified,
            world=options.world,
            on_progress=clock.report,
            track=options.track,
        )
    except (OSError, WorkersLostError, ProcessLostError):
        lock.unverified = True  # files may differ from what was written, so the next run hashes them
        raise
    except Interrupted:
        lock.unverified = False
        raise
    lock.unverified = False


def _publish(tree: Tree, store: Store, dataset: Dataset, options: RunOptions, clock: "_Clock") -> Results:
    """Collect, judge, write and draw the results so far."""
    options.on_progress(Preparation("writing the results"))
    collected = collect(
        tree, store, dataset, machine=machine_name(), wall_seconds=clock.wall_seconds, command=options.command
    )
    results = judge_as_planned(collected, SeedPlan.continued(tree.study, find_results(store.folder)))
    write_results(results, store.folder)
    options.draw(results, store.folder)
    return results


def _provenance(options: RunOptions) -> dict[str, Any]:
    """The entries of study.json on how the study is run: executor, processes, versions, machine."""
    return {
        "executor": options.executor.kind,
        "jobs": options.executor.jobs,
        "threads": options.threads,
        "processes": options.world.size,
        "shard": options.world.shard,
        "shards": options.world.shards,
        "versions": {"deepen": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": machine_name(),
    }


class _Clock:
    """Wall time of all runs of a study; a run that trains nothing adds none."""

    def __init__(self, seconds_before: float, on_progress: OnProgress) -> None:
        self._seconds_before, self._began, self._on_progress = seconds_before, time.monotonic(), on_progress
        self._first: int | None = None
        self._last = 0

    def report(self, progress: StudyProgress | Preparation) -> None:
        """Record and report progress."""
        if isinstance(progress, StudyProgress):
            self._first = progress.flops if self._first is None else self._first
            self._last = progress.flops
        self._on_progress(progress)

    @property
    def wall_seconds(self) -> float:
        """Seconds of all earlier runs and this one."""
        trained_here = self._first is not None and self._last > self._first
        return self._seconds_before + (time.monotonic() - self._began if trained_here else 0.0)
