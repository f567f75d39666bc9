"""The checks of a run, which come before anything is written."""

import os
import tempfile
from pathlib import Path

from deepen.data.shards import Dataset
from deepen.data.sources import EMBEDDED, check_embedded, open_data
from deepen.durable import nearest_existing
from deepen.errors import ErrorCollector, InvalidValueError
from deepen.evaluate.registry import get_task
from deepen.study.compile.marks import compile_marks
from deepen.study.define.executor import ExecutorChoice
from deepen.study.define.start import Start
from deepen.study.define.study import Study
from deepen.study.judge.looks import SeedPlan
from deepen.study.results.results_file import find_results
from deepen.study.run.executors.registry import get_kind
from deepen.study.run.progress import OnProgress, as_preparation, ignore_progress
from deepen.study.run.resources import check_room
from deepen.study.run.run_study import hash_inputs
from deepen.study.run.start import check_model, check_tokenizer
from deepen.study.store.retention import RetentionPolicy
from deepen.study.store.study_folder import Store
from deepen.train.compiling import check_compiler
from deepen.train.device import check_memory, pick_device
from deepen.train.distributed.processes import World
from deepen.train.settings import AUTO


def check_run(
    study: Study,
    store: Store,
    executor: ExecutorChoice,
    world: World,
    policy: RetentionPolicy | None,
    problems: ErrorCollector,
    on_progress: OnProgress = ignore_progress,
) -> Dataset | None:
    """Check a study, its files, its folder and the machine.

    Args:
        study: the study.
        store: its folder.
        executor: where segments are trained.
        world: the processes that train each segment together.
        policy: which states stay on disk.
        problems: collects all errors.
        on_progress: receives what is done where that takes long.

    Returns:
        The data; None for the embedded corpus, which is not prepared yet.
    """
    problems.attempt(lambda: get_kind(executor).check(executor))
    problems.attempt(lambda: _check_writable(store.folder))
    problems.attempt(lambda: _check_precision(study, executor))
    problems.attempt(lambda: _check_machine(study, executor, world))
    for arm in study.arms:
        problems.attempt(lambda arm=arm: compile_marks(study, arm))  # type: ignore[misc]
    dataset = problems.attempt(lambda: _open_data(study, store.folder, on_progress))
    if study.start is not None:
        start = study.start
        problems.attempt(lambda: check_model(start, study.model))
        problems.attempt(lambda: _check_tokenizer(start, study, dataset, on_progress))
    for file in study.evaluation.tasks:
        problems.attempt(lambda file=file: get_task(file.task).check(file.path))  # type: ignore[misc]
    inputs = problems.attempt(lambda: hash_inputs(study, dataset))
    problems.attempt(lambda: store.check(study, inputs))
    problems.attempt(lambda: SeedPlan.continued(study, find_results(store.folder)).check(study))
    if policy is not None and not problems.found:
        problems.attempt(lambda: check_room(study, store, executor, world, policy))
    return dataset


def _check_tokenizer(start: Start, study: Study, dataset: Dataset | None, on_progress: OnProgress) -> None:
    """Compare the tokenizers of a study's start and data; the embedded corpus is prepared elsewhere for that."""
    if dataset is not None:
        check_tokenizer(start, dataset, study.data)
    elif study.data == EMBEDDED:
        with tempfile.TemporaryDirectory() as folder:
            report = as_preparation(on_progress)
            check_tokenizer(start, open_data(EMBEDDED, study.model.vocab, Path(folder), report), EMBEDDED)


def _check_writable(folder: Path) -> None:
    """Raise an InvalidValueError if the folder, or the one in which it would be made, cannot be written to."""
    existing = nearest_existing(folder.absolute())
    if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
        raise InvalidValueError(
            f"{folder}: {existing} cannot be written to",
            field="folder",
            value=folder,
            remedy="name another `folder`",
        )


def _check_precision(study: Study, executor: ExecutorChoice) -> None:
    """Precision `auto` measures this machine, so this machine must be the one that trains."""
    if study.settings.precision == AUTO and not get_kind(executor).trains_here:
        raise InvalidValueError(
            "auto measures this machine, and segments are trained elsewhere",
            field="precision",
            value=AUTO,
            remedy="name fp32 or bf16",
        )


def _check_machine(study: Study, executor: ExecutorChoice, world: World) -> None:
    if get_kind(executor).trains_here:
        check_compiler(study.settings, pick_device(), sharded=world.shard)
        check_memory(
            study.model,
            pick_device(),
            shards=world.shards,
            optimizer=study.settings.optimizer.cost,
            processes=executor.jobs or 1,
            local_shards=world.local_shards,
        )


def _open_data(study: Study, folder: Path, on_progress: OnProgress) -> Dataset | None:
    """Open a study's data; None for the embedded corpus, which is prepared in the study's folder later."""
    if study.data == EMBEDDED:
        check_embedded(study.model.vocab, dtype=study.data_dtype, tokenizer=study.tokenizer)
        return None
    dataset = open_data(
        study.data,
        study.model.vocab,
        folder / "data",
        as_preparation(on_progress),
        dtype=study.data_dtype,
        tokenizer=study.tokenizer,
    )
    dataset.check_context(study.context)
    if study.evaluation.tasks:
        dataset.load_tokenizer(study.model.vocab)
    elif dataset.tokenizer:
        dataset.load_tokenizer()  # with which the validation loss is given per byte too
    return dataset
