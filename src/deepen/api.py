"""`deepen.run`: check a study, train it, judge it and draw its report.

    results = deepen.run(study, "runs/quickstart")

Running a finished study again trains nothing; running an interrupted one trains the rest.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from deepen.bench.precision import faster_precision, warn_of_fp32
from deepen.bench.speed import measure_speed
from deepen.errors import ErrorCollector, InvalidValueError
from deepen.interop.trackers import get_tracker
from deepen.report import draw_report
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.results.schema import Results
from deepen.study.run.checks import check_run
from deepen.study.run.executors.registry import get_kind
from deepen.study.run.forecast import Speed
from deepen.study.run.progress import OnProgress, Preparation, contain_errors, ignore_progress
from deepen.study.run.resources import choose_jobs
from deepen.study.run.run_study import RunOptions, run_study
from deepen.study.run.triggers import Trigger
from deepen.study.store.retention import DEFAULT_POLICY, get_retention_policy
from deepen.study.store.study_folder import Store
from deepen.train.device import pick_device
from deepen.train.distributed.processes import ONE_PROCESS, World, divide_model
from deepen.train.limits import describe_cores, usable_cores
from deepen.train.settings import AUTO, PRECISIONS

_log = logging.getLogger(__name__)


def run(
    study: Study,
    folder: Path | str,
    *,
    executor: ExecutorChoice | str = "local",
    threads: int | None = None,
    keep: str = DEFAULT_POLICY,
    verify: bool = False,
    shard: bool | str = False,
    report: bool = True,
    triggers: Sequence[Trigger] = (),
    track: Sequence[str] = (),
    command: str = "",
    on_progress: OnProgress = ignore_progress,
    world: World | None = None,
) -> Results:
    """Run or continue a study in a folder: train it, judge it, write results.json, draw its report.

    By default, several segments are trained in parallel, in worker processes. They do not execute the calling
    script again, so it needs no `if __name__ == "__main__":`.

    Args:
        study: the study to run.
        folder: a new folder, or the folder in which this study was started.
        executor: where segments are trained, such as "local:4" or "slurm:partition=gpu". The default is this
            machine, with one segment per GPU or per core. The processes of a `world` need "local:1", which is then
            the default.
        threads: CPU threads per segment, and per process of `world`. By default the cores are shared equally, and
            OMP_NUM_THREADS is the most. A study keeps the number that it was started with.
        keep: which states stay on disk: "last" (at the marks), "trunk" (also where a larger budget would
            continue), "forks", or "all".
        verify: hash every byte of every state first, instead of checking sizes and headers. This always happens
            after a process was killed or its disk failed.
        shard: divide the model among the processes of `world`, not only the batch; "node" divides it among those
            of each machine, so that every machine has a copy.
        report: draw the page and the figures.
        triggers: functions that receive the study and its results and may return a larger study (see
            `deepen.study.run.triggers`).
        track: trackers that show the runs: "tensorboard", "wandb", "trackio" (see `deepen.interop.trackers`). What
            they have not received yet of an existing folder follows. One that fails is logged once, and training
            continues.
        command: the command line that runs the study, to be recorded in its results.
        on_progress: called about once a second with a `StudyProgress`, or a `Preparation` before and after
            training (see `deepen.study.run.progress`); an error that it raises is logged, and training continues.
        world: the processes that train each segment together, led by this one, one segment at a time; by default
            this process alone.

    Returns:
        The results, as in results.json.

    Raises:
        InvalidValuesError: all values that cannot be used; nothing was written.
        Interrupted: a signal asked to stop; every finished step is kept, and the same call continues.
        RunError: training cannot continue; every saved state is kept, and the same call continues.
    """
    store, on_progress, problems = Store(Path(folder)), contain_errors(on_progress), ErrorCollector()
    world = problems.attempt(lambda: divide_model(world or ONE_PROCESS, shard)) or ONE_PROCESS
    choice = problems.attempt(lambda: _resolve_executor(executor, threads)) or ExecutorChoice()
    policy = problems.attempt(lambda: get_retention_policy(keep))
    study = problems.attempt(lambda: store.continue_study(study)) or study
    if triggers:
        study = problems.attempt(lambda: store.with_recorded_additions(study)) or study
    study = problems.attempt(lambda: _with_recorded_precision(study, store)) or study
    for name in track:
        problems.attempt(lambda name=name: get_tracker(name).check())  # type: ignore[misc]
    jobs, why_fewer = problems.attempt(lambda: choose_jobs(study, choice, world)) or (None, "")
    choice = replace(choice, jobs=jobs)
    threads = problems.attempt(lambda: choose_threads(store, choice, world))
    dataset = check_run(study, store, choice, world, policy, problems, on_progress)
    problems.raise_all()
    assert policy is not None and threads is not None
    if why_fewer:
        _log.info("segments trained at once: %d, %s", jobs, why_fewer)
    if study.settings.precision == AUTO:
        on_progress(Preparation("measuring which precision is faster"))
        study = _with_faster_precision(study, threads)
    if get_kind(choice).trains_here and (warning := warn_of_fp32(study.settings.precision, pick_device())):
        _log.warning(warning)
    if study.evaluation.tasks_every_tokens and not study.evaluation.tasks:
        _log.info("no task is evaluated: no task file is given")
    options = RunOptions(
        executor=choice,
        threads=threads,
        policy=policy,
        verify=verify,
        world=world,
        triggers=tuple(triggers),
        on_progress=on_progress,
        track=tuple(track),
        command=command,
        measure_speed=lambda study: _measure_speed(study, choice, threads, world, on_progress),
        draw=draw_report if report else (lambda results, folder: None),
    )
    return run_study(study, store, options, dataset)


def _resolve_executor(executor: ExecutorChoice | str, threads: int | None) -> ExecutorChoice:
    """The executor, with the CPU threads that are asked for."""
    choice = ExecutorChoice.parse(executor) if isinstance(executor, str) else executor
    asked = choice if threads is None else replace(choice, threads=threads)
    if choice.threads not in (None, asked.threads):
        raise InvalidValueError(
            f"is {threads}, but `executor` asks for {choice.threads}",
            field="threads",
            value=threads,
            remedy="give it once",
        )
    return asked


def choose_threads(store: Store, executor: ExecutorChoice, world: World = ONE_PROCESS) -> int:
    """CPU threads of each process: the recorded number if the study was started before, as results depend on it.

    Raises:
        InvalidValueError: another number than the recorded one is asked for, or more than there are cores.
    """
    recorded: int | None = store.recorded("threads")
    kind, asked, cores = get_kind(executor), executor.threads, usable_cores()
    if recorded and asked and asked != recorded:
        raise InvalidValueError(
            f"is {asked}, but this study began with {recorded}, and another number rounds differently",
            field="threads",
            value=asked,
            remedy=f"use {recorded}, or leave it out",
        )
    threads = recorded or asked or kind.default_threads((executor.jobs or 1) * world.local_size)
    if kind.trains_here and threads > cores:
        if not recorded:
            raise InvalidValueError(f"is {threads}: {describe_cores()}", field="threads", value=threads)
        _log.warning(
            "the study began with %d threads per segment, and %s: it trains slower", threads, describe_cores()
        )
    return threads


def _measure_speed(
    study: Study, executor: ExecutorChoice, threads: int, world: World, on_progress: OnProgress
) -> Speed | None:
    """How fast a segment is trained; None if it is trained elsewhere, or no process has the whole model."""
    if not get_kind(executor).trains_here or world.shard:
        return None
    on_progress(Preparation("timing a step"))
    speed = measure_speed(study, threads, apart=world.size == 1)
    return None if speed is None else replace(speed, flops_per_second=world.size * speed.flops_per_second)


def _with_recorded_precision(study: Study, store: Store) -> Study:
    """The study with the precision that its folder records, if the study leaves the precision open."""
    if study.settings.precision != AUTO:
        return study
    recorded = store.recorded("study")
    settings = recorded.get("settings") if isinstance(recorded, dict) else None
    precision = settings.get("precision") if isinstance(settings, dict) else None
    return _with_precision(study, precision) if precision in PRECISIONS else study


def _with_faster_precision(study: Study, threads: int) -> Study:
    """The study with the precision that is faster on this machine."""
    torch.set_num_threads(threads)
    precision, reason = faster_precision(study.model, study.context, pick_device())
    _log.info("precision %s: %s", precision, reason)
    return _with_precision(study, precision)


def _with_precision(study: Study, precision: str) -> Study:
    return replace(study, settings=replace(study.settings, precision=precision))
