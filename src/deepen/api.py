"""The library's entry point: run a study from its definition to its report.

    results = deepen.run(study, "runs/quickstart")

It goes one way: compile the study to a tree of segments, train those that are not there yet, collect what they
measured, judge the arms, draw the report. Running a finished study again trains nothing; running an interrupted
one trains what is left.
"""

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from deepen import __version__
from deepen.bench.precision import faster_precision
from deepen.data.shards import Dataset
from deepen.data.sources import EMBEDDED, check_embedded, open_data
from deepen.data.tokenizers import load_tokenizer
from deepen.errors import InvalidValueError, InvalidValuesError
from deepen.evaluate.registry import get_task
from deepen.report import draw_report
from deepen.study.compile.marks import compile_marks
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.results.collect import collect
from deepen.study.results.schema import Results, write_results
from deepen.study.results.verdicts import with_verdicts
from deepen.study.run.executors.workers import WorkersLostError, check_executor, default_jobs
from deepen.study.run.scheduler import Interrupted, run_tree
from deepen.study.store.retention import Lineage
from deepen.study.store.study_folder import Store
from deepen.train.compiling import check_compiler
from deepen.train.device import check_memory, machine_name, pick_device
from deepen.train.distributed.failure import ProcessLostError
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.limits import fair_threads, usable_cores
from deepen.train.settings import AUTO, PRECISIONS

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Called with the FLOPs trained so far and the FLOPs of the whole study."""


def run(
    study: Study,
    folder: Path | str,
    *,
    executor: ExecutorChoice | None = None,
    keep: str = "last",
    verify: bool = False,
    shard: bool = False,
    report: bool = True,
    on_progress: OnProgress | None = None,
    world: World | None = None,
) -> Results:
    """Run or continue a study in a folder and draw its report; returns its results.

    Where the process before died, or its disk failed, every state is verified in full, asked for or not.

    Args:
        study: what to train and compare.
        folder: a new folder, or the one that this study was begun in.
        executor: where segments are trained, and how many at once; by default in processes of this machine.
        keep: which states stay on disk (`deepen.study.store.keep.KEEPS`).
        verify: hash every byte of every state first, rather than sizes and headers.
        shard: the processes of `world` divide the model among them, rather than the batch alone.
        report: draw figures and page, as far as the study is trained.
        on_progress: called as segments are finished.
        world: the processes that train each segment together, which this one leads.

    Raises:
        InvalidValuesError: everything in the request that cannot be used; nothing was written.
        Interrupted: SIGINT or SIGTERM came; all that was trained is kept, and the same call continues.
        RunError: training cannot continue; all that was complete is kept.
    """
    world, store = replace(world or ONE_PROCESS, shard=shard), Store(Path(folder))
    executor = executor or ExecutorChoice()
    if executor.kind == "local":
        executor = replace(executor, jobs=executor.jobs or default_jobs())
    study, threads = _with_recorded_precision(study, store), choose_threads(store, executor)
    named_data = _check(study, store, executor, world)
    if study.settings.precision == AUTO:
        study = _with_faster_precision(study, threads)
    if executor.kind == "slurm":
        executor = replace(executor, slurm={**executor.slurm, "cpus_per_task": threads})
    if study.evaluation.tasks_every_tokens and not study.evaluation.tasks:
        log.warning("no task is evaluated: the study names no task file")
    with store.lock() as hold:
        dataset = named_data or open_data(study.data, study.model.vocab, store.folder / "data")
        tree = compile_study(study, dataset.fingerprint)
        lineage = Lineage.of(tree).described()
        store.open(study.described(), {**_provenance(dataset, executor, threads, world), "lineage": lineage})
        clock = _Clock(before=store.wall_seconds(), on_progress=on_progress)

        def publish() -> Results:
            results = _collect(tree, store, dataset, clock.wall_seconds)
            if report:
                draw_report(results, store.folder)
            return results

        try:
            run_tree(
                study,
                tree,
                dataset,
                store.folder,
                clock.report,
                executor=executor,
                threads=threads if world.size == 1 else max(1, usable_cores() // world.local_size),
                keep=keep,
                verify=verify or hold.unverified,
                world=world,
            )
            hold.unverified = False
        except Interrupted:
            hold.unverified = False
            publish()
            raise
        except (OSError, WorkersLostError, ProcessLostError):
            # What the disk really has is not known: the next run hashes it.
            hold.unverified = True
            raise
        return publish()


class _Clock:
    """Wall time of all runs of a study; a run that trains nothing adds none."""

    def __init__(self, before: float, on_progress: OnProgress | None) -> None:
        self._before, self._began, self._on_progress = before, time.monotonic(), on_progress
        self._first: int | None = None
        self._last = 0

    def report(self, trained: int, total: int) -> None:
        """Note how far training is, and pass it on."""
        self._first, self._last = trained if self._first is None else self._first, trained
        if self._on_progress is not None:
            self._on_progress(trained, total)

    @property
    def wall_seconds(self) -> float:
        """Seconds of the runs before and of this one."""
        trained_here = self._first is not None and self._last > self._first
        return self._before + (time.monotonic() - self._began if trained_here else 0.0)


def _with_recorded_precision(study: Study, store: Store) -> Study:
    """The study in the precision that its folder was begun in, where the machine is to choose one."""
    if study.settings.precision != AUTO:
        return study
    recorded = store.recorded("study")
    settings = recorded.get("settings") if isinstance(recorded, dict) else None
    precision = settings.get("precision") if isinstance(settings, dict) else None
    return _with_precision(study, precision) if precision in PRECISIONS else study


def _with_faster_precision(study: Study, threads: int) -> Study:
    """The study in the precision that is the faster one on this machine with so many threads."""
    torch.set_num_threads(threads)
    precision, factor = faster_precision(study.model, study.context, pick_device())
    log.info("precision %s: the other would take %.2f times as long here", precision, factor)
    return _with_precision(study, precision)


def _with_precision(study: Study, precision: str) -> Study:
    return replace(study, settings=replace(study.settings, precision=precision))


def choose_threads(store: Store, executor: ExecutorChoice) -> int:
    """CPU threads of a segment: those the study began with, else as asked for, else a fair share of the cores."""
    recorded: int | None = store.recorded("threads")
    if recorded and executor.threads and executor.threads != recorded:
        raise InvalidValueError(
            f"asks for {executor.threads} threads a segment, but this study began with {recorded}, and other "
            "numbers of threads round differently",
            field="executor",
            value=executor,
            remedy="ask for as many",
        )
    fair_share = fair_threads(executor.jobs or 1) if executor.kind == "local" else 1
    return recorded or executor.threads or fair_share


def _check_measurable(study: Study, executor: ExecutorChoice) -> None:
    """Refuse to choose a precision on a machine that does not train."""
    if study.settings.precision == AUTO and executor.kind != "local":
        raise InvalidValueError(
            "auto measures this machine, and segments are trained elsewhere",
            field="precision",
            value=AUTO,
            remedy="name fp32 or bf16",
        )


def _collect(tree: Tree, store: Store, dataset: Dataset, wall_seconds: float) -> Results:
    """Write results.json of what is trained so far."""
    results = with_verdicts(collect(tree, store, dataset, machine=machine_name(), wall_seconds=wall_seconds))
    write_results(results, store.folder)
    return results


def _check(study: Study, store: Store, executor: ExecutorChoice, world: World) -> Dataset | None:
    """The data, where the study names a folder of it; raises all problems of the study at once."""
    named_data: Dataset | None = None

    def open_named_data() -> None:
        nonlocal named_data
        if study.data == EMBEDDED:
            check_embedded(study.model.vocab)
            return
        named_data = open_data(study.data, study.model.vocab, store.folder / "data")
        named_data.check_context(study.context)
        if study.evaluation.tasks:
            load_tokenizer(named_data.folder, study.model.vocab)

    def check_this_machine() -> None:
        if executor.kind == "local":
            check_compiler(study.settings.compile, pick_device())
            shards = world.size if world.shard else 1
            check_memory(study.model, pick_device(), shards=shards, optimizer=study.settings.optimizer.cost)

    checks: list[Callable[[], object]] = [
        partial(check_executor, executor),
        partial(_check_measurable, study, executor),
        check_this_machine,
        *(partial(compile_marks, study, arm) for arm in study.arms),
        partial(store.check, study.described()),
        open_named_data,
        *(partial(get_task(file.task).check, file.path) for file in study.evaluation.tasks),
    ]
    problems: list[ValueError] = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            problems.append(error)
    if problems:
        raise InvalidValuesError(problems)
    return named_data


def _provenance(dataset: Dataset, executor: ExecutorChoice, threads: int, world: World) -> dict[str, Any]:
    """What study.json records beside the study: versions, machine, data."""
    return {
        "data_fingerprint": dataset.fingerprint,
        "executor": executor.kind,
        "jobs": executor.jobs,
        "threads": threads,
        "processes": world.size,
        "shard": world.shard,
        "versions": {"deepen": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": machine_name(),
    }
