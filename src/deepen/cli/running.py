"""What `study` and `train` share: check everything, train, judge, draw."""

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from deepen import __version__
from deepen.bench.measurement import faster_precision
from deepen.cli.output.progress import ProgressLine
from deepen.cli.requests.options import Problems, Stopped
from deepen.data.shards import Dataset
from deepen.data.sources import EMBEDDED, check_embedded, prepare
from deepen.data.tokenizers import load_tokenizer
from deepen.evaluate.registry import get_task
from deepen.report import write_report
from deepen.study.compile.marks import compile_marks
from deepen.study.compile.tree import Tree, compile_study
from deepen.study.define.executor import ExecutorChoice, local
from deepen.study.define.study import Study
from deepen.study.results.collect import collect
from deepen.study.results.schema import Results, write_results
from deepen.study.results.verdicts import with_verdicts
from deepen.study.run.executors.workers import WorkersLostError, check_executor, default_jobs
from deepen.study.run.scheduler import Interrupted, run_tree
from deepen.study.store.retention import Lineage
from deepen.study.store.study_folder import Store
from deepen.train.checkpoint.state_files import StateError
from deepen.train.compiling import check_compiler
from deepen.train.device import check_room, cores, machine_name, pick_device
from deepen.train.distributed.failure import ProcessLostError
from deepen.train.distributed.processes import ONE_PROCESS, World
from deepen.train.errors import TrainingError
from deepen.train.settings import AUTO, PRECISIONS


def conduct(
    study: Study,
    out: Path,
    executor: ExecutorChoice,
    *,
    keep: str = "last",
    verify: bool = False,
    shard: bool = False,
    world: World | None = None,
) -> Results:
    """Run a study to its end in `out` and draw its report; returns its results.

    Every problem of the request is found before anything is written. Where the process before died, or its disk
    failed, all states are verified in full, asked for or not.

    Args:
        world: the processes that train each segment together, which this one leads; with `shard` they divide
            the model among them.
    """
    world = replace(world or ONE_PROCESS, shard=shard)
    store, console, began = Store(out), Console(stderr=True), time.monotonic()
    progress = ProgressLine(console, study.name)
    if executor.kind == "local":
        executor = local(executor.jobs or default_jobs())
    with _failures_told(store):
        study, threads = _as_recorded(study, store), threads_of(store, executor)
        named_data = _check(study, store, executor, world)
        if study.settings.precision == AUTO:
            study = _in_faster_precision(study, threads, console)
    if executor.kind == "slurm":
        executor = replace(executor, slurm={**executor.slurm, "cpus_per_task": threads})
    if study.evaluation.hellaswag_every_tokens and not study.evaluation.hellaswag:
        console.print("HellaSwag is not evaluated: name its JSONL file with --hellaswag")
    with _failures_told(store), store.lock() as hold:
        dataset = named_data or prepare(study.data, study.model.vocab, out / "data")
        tree = compile_study(study, dataset.fingerprint)
        lineage = Lineage.of(tree).described()
        store.open(study.described(), {**_about(dataset, executor, threads, world), "lineage": lineage})
        before = store.wall_seconds()

        def publish() -> Results:
            wall_seconds = before + (time.monotonic() - began if progress.trained_here else 0.0)
            return _publish(tree, store, dataset, wall_seconds)

        try:
            with progress:
                run_tree(
                    study,
                    tree,
                    dataset,
                    out,
                    progress.report,
                    executor=executor,
                    threads=threads if world.size == 1 else max(1, cores() // world.local_size),
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


def _as_recorded(study: Study, store: Store) -> Study:
    """The study in the precision that its folder was begun in, where it is left to the machine."""
    if study.settings.precision != AUTO:
        return study
    recorded = store.recorded("study")
    settings = recorded.get("settings") if isinstance(recorded, dict) else None
    precision = settings.get("precision") if isinstance(settings, dict) else None
    return _in_precision(study, precision) if precision in PRECISIONS else study


def _in_faster_precision(study: Study, threads: int, console: Console) -> Study:
    """The study in the precision that is the faster one on this machine, with so many threads."""
    torch.set_num_threads(threads)
    precision, factor = faster_precision(study.model, study.context, pick_device())
    console.print(f"precision {precision}: the other would take {factor:.2f} times as long here")
    return _in_precision(study, precision)


def _in_precision(study: Study, precision: str) -> Study:
    return replace(study, settings=replace(study.settings, precision=precision))


def threads_of(store: Store, executor: ExecutorChoice) -> int:
    """CPU threads of a segment: those the study began with, else as asked for, else a fair share of the cores."""
    recorded: int | None = store.recorded("threads")
    if recorded and executor.threads and executor.threads != recorded:
        raise ValueError(
            f"--executor asks for {executor.threads} threads a segment: this study began with {recorded}, and "
            "others round differently; ask for as many"
        )
    alone = max(1, cores() // (executor.jobs or 1)) if executor.kind == "local" else 1
    return recorded or executor.threads or alone


def _check_measurable(study: Study, executor: ExecutorChoice) -> None:
    """Refuse to choose a precision on a machine that does not train."""
    if study.settings.precision == AUTO and executor.kind != "local":
        raise ValueError(
            "--precision auto measures this machine, and segments are trained elsewhere: name fp32 or bf16"
        )


def _publish(tree: Tree, store: Store, dataset: Dataset, wall_seconds: float) -> Results:
    """Write results.json and the report of what is trained so far."""
    results = with_verdicts(collect(tree, store, dataset, machine=machine_name(), wall_seconds=wall_seconds))
    write_results(results, store.folder)
    write_report(store.folder)
    return results


def _check(study: Study, store: Store, executor: ExecutorChoice, world: World) -> Dataset | None:
    """The data, where the study names a folder of it; raises all problems of the study at once."""
    named_data: Dataset | None = None

    def open_named_data() -> None:
        nonlocal named_data
        if study.data == EMBEDDED:
            check_embedded(study.model.vocab)
            return
        named_data = prepare(study.data, study.model.vocab, store.folder / "data")
        named_data.check_context(study.context)
        if study.evaluation.hellaswag:
            load_tokenizer(named_data.folder, study.model.vocab)

    def check_this_machine() -> None:
        if executor.kind == "local":
            check_compiler(study.settings.compile, pick_device())
            shards = world.size if world.shard else 1
            check_room(study.model, pick_device(), shards=shards, optimizer=study.settings.optimizer.cost)

    def check_task() -> None:
        if study.evaluation.hellaswag:
            get_task("hellaswag").check(Path(study.evaluation.hellaswag))

    checks: list[Callable[[], object]] = [
        partial(check_executor, executor),
        partial(_check_measurable, study, executor),
        check_this_machine,
        *(partial(compile_marks, study, arm) for arm in study.arms),
        partial(store.check, study.described()),
        open_named_data,
        check_task,
    ]
    problems: list[str] = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise Problems(list(dict.fromkeys(problems)))
    return named_data


@contextmanager
def _failures_told(store: Store) -> Iterator[None]:
    """Turn whatever ends a run early into a line that says what was kept and how to go on."""
    try:
        yield
    except Interrupted:
        line = f"stopped; every step so far is kept in {store.folder}: the same command continues"
        raise Stopped(130, line) from None
    except WorkersLostError as error:
        raise Stopped(1, f"{error}; {_kept(store)}") from None
    except (TrainingError, StateError, ProcessLostError) as error:
        raise Stopped(1, f"the run failed: {error}; {_kept(store)}") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise Stopped(1, f"out of memory: use a smaller --batch-tokens or --context; {_kept(store)}") from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Stopped(1, f"cannot read or write: {error.strerror or error}{where}; {_kept(store)}") from None
    except ValueError as error:
        raise Problems([str(error)]) from None


def _kept(store: Store) -> str:
    """Which complete state there is to go on from, in words."""
    newest = store.newest_state()
    kept = f"the last complete state is {newest}" if newest else f"no state is complete in {store.folder} yet"
    return f"{kept}; once the cause is mended, the same command continues"


def _about(dataset: Dataset, executor: ExecutorChoice, threads: int, world: World) -> dict[str, Any]:
    """What study.json says beside the study: versions, machine, data."""
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
