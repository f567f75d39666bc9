"""The library's entry points: run a study from its definition to its report, plan it, read its results.

    results = deepen.run(study, "runs/quickstart")

Running a finished study again trains nothing; running an interrupted one trains what is left.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from deepen.bench.precision import faster_precision
from deepen.errors import ErrorCollector, InvalidValueError
from deepen.report import draw_report
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.study import Study
from deepen.study.results.schema import Results
from deepen.study.run.checks import check_run
from deepen.study.run.executors.registry import get_kind
from deepen.study.run.run_study import RunOptions, run_study
from deepen.study.run.triggers import Trigger
from deepen.study.store.retention import get_retention_policy
from deepen.study.store.study_folder import Store
from deepen.train.device import pick_device
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.settings import AUTO, PRECISIONS

_log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Called with the FLOPs trained so far and the FLOPs of the whole study."""


def run(
    study: Study,
    folder: Path | str,
    *,
    executor: ExecutorChoice | str = "local",
    keep: str = "last",
    verify: bool = False,
    shard: bool = False,
    report: bool = True,
    triggers: Sequence[Trigger] = (),
    on_progress: OnProgress | None = None,
    world: World | None = None,
) -> Results:
    """Run or continue a study in a folder: train it, judge it, write results.json, draw its report.

    Where the process before died, or its disk failed, every state is verified in full, asked for or not. Several
    segments at once are trained in worker processes, which import the script that calls this: have it do so below
    `if __name__ == "__main__":`, or train in this process with `executor="local:1"`.

    Args:
        study: what to train and compare.
        folder: a new folder, or the one that this study was begun in.
        executor: where segments are trained, such as "local:4" or "slurm:partition=gpu"; by default on this
            machine, one segment a GPU or a core at once.
        keep: which states stay on disk: "last" (at the marks), "forks", or "all".
        verify: hash every byte of every state first, rather than sizes and headers.
        shard: divide the model among the processes of `world`, rather than the batch alone.
        report: draw figures and page, as far as the study is trained.
        triggers: functions that are shown the study and its results once they are there, and may return a larger
            study (see `deepen.study.run.triggers`).
        on_progress: called as segments are finished.
        world: the processes that train each segment together, led by this one; for whoever starts them.

    Returns:
        The results, as in results.json.

    Raises:
        InvalidValuesError: everything in the request that cannot be used; nothing was written.
        Interrupted: SIGINT or SIGTERM came; all that was trained is kept, and the same call continues.
        RunError: training cannot continue; all that was complete is kept, and the same call continues.
    """
    store, world = Store(Path(folder)), replace(world or ONE_PROCESS, shard=shard)
    problems = ErrorCollector()
    choice = problems.attempt(lambda: _resolve_executor(executor)) or ExecutorChoice()
    policy = problems.attempt(lambda: get_retention_policy(keep))
    if triggers:
        study = problems.attempt(lambda: store.with_recorded_additions(study)) or study
    study = problems.attempt(lambda: _with_recorded_precision(study, store)) or study
    threads = problems.attempt(lambda: choose_threads(store, choice))
    dataset = check_run(study, store, choice, world, problems)
    problems.raise_all()
    assert policy is not None and threads is not None
    if study.settings.precision == AUTO:
        study = _with_faster_precision(study, threads)
    if study.evaluation.tasks_every_tokens and not study.evaluation.tasks:
        _log.info("no task is evaluated: no task file is named")
    options = RunOptions(
        executor=choice,
        threads=threads,
        policy=policy,
        verify=verify,
        world=world,
        triggers=tuple(triggers),
        on_progress=on_progress or (lambda trained, total: None),
        draw=draw_report if report else (lambda results, folder: None),
    )
    return run_study(study, store, options, dataset)


def _resolve_executor(executor: ExecutorChoice | str) -> ExecutorChoice:
    """The choice with the number of segments that are trained at once, where this machine decides it."""
    choice = ExecutorChoice.parse(executor) if isinstance(executor, str) else executor
    return replace(choice, jobs=choice.jobs or get_kind(choice).default_jobs())


def choose_threads(store: Store, executor: ExecutorChoice) -> int:
    """CPU threads of a segment: those the study began with, else as asked for, else the executor's default.

    Raises:
        InvalidValueError: others are asked for than the study began with.
    """
    recorded: int | None = store.recorded("threads")
    if recorded and executor.threads and executor.threads != recorded:
        raise InvalidValueError(
            f"asks for {executor.threads} threads a segment: this study began with {recorded}, and others round "
            "differently",
            field="executor",
            value=executor,
            remedy="ask for as many",
        )
    return recorded or executor.threads or get_kind(executor).default_threads(executor.jobs)


def _with_recorded_precision(study: Study, store: Store) -> Study:
    """The study in the precision that its folder was begun in, where the machine is to choose one."""
    if study.settings.precision != AUTO:
        return study
    recorded = store.recorded("study")
    settings = recorded.get("settings") if isinstance(recorded, dict) else None
    precision = settings.get("precision") if isinstance(settings, dict) else None
    return _with_precision(study, precision) if precision in PRECISIONS else study


def _with_faster_precision(study: Study, threads: int) -> Study:
    """The study in the precision that is faster on this machine with so many threads."""
    torch.set_num_threads(threads)
    precision, factor = faster_precision(study.model, study.context, pick_device())
    _log.info("precision %s: the other would take %.2f times as long here", precision, factor)
    return _with_precision(study, precision)


def _with_precision(study: Study, precision: str) -> Study:
    return replace(study, settings=replace(study.settings, precision=precision))
