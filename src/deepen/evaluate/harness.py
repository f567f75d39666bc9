"""Run lm-evaluation-harness itself on a folder in Hugging Face's format.

    tasks = [HarnessTask(name="hellaswag", file=Path("hellaswag_val.jsonl")), HarnessTask(name="boolq")]
    for score in run_harness(folder, tasks).scores:
        ...  # HarnessScore(task="hellaswag", metric="acc_norm", value=0.31, stderr=0.005, n=10042, ...)

Names, prompts, tokens and metrics are the harness's own. It downloads the data of a task unless the task has a
file (`harness_tasks.py`).

Source: Gao et al., "A framework for few-shot language model evaluation", doi 10.5281/zenodo.10256836.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen.evaluate.harness_model import explain_failure, load_harness_model
from deepen.evaluate.harness_tasks import HarnessTask, import_harness, load_tasks
from deepen.extras import import_extra

BOOTSTRAP_ITERATIONS = 1000
"""Resamplings for the standard error of a metric that is not a mean, such as perplexity."""

_NOISY = ("lm_eval", "transformers", "datasets", "accelerate", "huggingface_hub")


@dataclass(frozen=True, kw_only=True, slots=True)
class HarnessScore:
    """One metric of one task or group of tasks.

    Attributes:
        task, metric: the harness's names.
        value: the metric.
        stderr: its standard error; None if the harness gives none.
        n: examples.
        shots: examples in the prompt.
        group: the group that the task is a part of; empty if there is none.
    """

    task: str
    metric: str
    value: float
    stderr: float | None
    n: int
    shots: int
    group: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HarnessResults:
    """What an evaluation returns.

    Attributes:
        scores: in the order of the tasks, a group before its parts.
        version: of lm-evaluation-harness.
        details: the harness's results as it returns them; with the answers to all examples if they were asked for.
    """

    scores: tuple[HarnessScore, ...]
    version: str
    details: Mapping[str, Any]


def run_harness(
    folder: Path,
    tasks: Sequence[HarnessTask],
    *,
    device: str = "cpu",
    precision: str = "fp32",
    batch_size: int = 0,
    limit: int | None = None,
    shots: int | None = None,
    samples: bool = False,
    progress: bool = False,
) -> HarnessResults:
    """Evaluate a model with lm-evaluation-harness (its `HFLM`).

    Args:
        folder: a model in Hugging Face's format, with safetensors and a tokenizer.
        tasks: what to evaluate.
        device: "cpu", "cuda", "cuda:1".
        precision: of weights and activations, a name in `task.DTYPES`.
        batch_size: rows of a batch; 0 lets the harness find the largest on a GPU, and is 16 on a CPU.
        limit: evaluate the first examples of each task only, and of each part of a group.
        shots: examples in the prompt; None means as many as a task's definition says.
        samples: keep the answer to every example in `details`.
        progress: show the harness's progress on stderr.

    Raises:
        InvalidValueError: a task is unknown, its data cannot be downloaded or read, or the model or its tokenizer
            cannot be used.
    """
    with _quiet(progress=progress), _without_forks():
        loaded = load_tasks(tasks, shots)
        model = load_harness_model(folder, device, precision, batch_size)
        try:
            results: Any = import_harness().evaluate(
                lm=model, task_dict=loaded, limit=limit, log_samples=samples, bootstrap_iters=BOOTSTRAP_ITERATIONS
            )
        except (AssertionError, IndexError):
            explain_failure(loaded, model, folder)
            raise
    return HarnessResults(
        scores=tuple(_read_scores(results)), version=import_harness().__version__, details=results
    )


def _read_scores(results: Mapping[str, Any]) -> Iterator[HarnessScore]:
    """The scores of each task and group; a key such as "acc,none" is a metric and the filter before it."""
    parts: Mapping[str, Sequence[str]] = results.get("group_subtasks", {})
    groups = {part: group for group, inside in parts.items() for part in inside}
    positions = {task: position for position, task in enumerate(results["results"])}

    def position(task: str) -> tuple[int, bool]:
        inside = [positions[part] for part in parts.get(task, ()) if part in positions]
        return min(inside, default=positions[task]), task not in parts

    for task in sorted(positions, key=position):
        metrics = results["results"][task]
        for key, value in metrics.items():
            metric, _, name = key.partition(",")
            if not name or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            stderr = metrics.get(f"{metric}_stderr,{name}")
            yield HarnessScore(
                task=task,
                metric=metric if name == "none" else f"{metric} ({name})",
                value=float(value),
                stderr=float(stderr) if isinstance(stderr, int | float) else None,
                n=_count_examples(task, results),
                shots=results["n-shot"].get(task, 0),
                group=groups.get(task, ""),
            )


def _count_examples(task: str, results: Mapping[str, Any]) -> int:
    """The examples of a task, or of all parts of a group."""
    counts: Mapping[str, Mapping[str, int]] = results["n-samples"]
    if task in counts:
        return counts[task]["effective"]
    return sum(_count_examples(part, results) for part in results["group_subtasks"].get(task, ()))


@contextmanager
def _without_forks() -> Iterator[None]:
    """In this context, the harness resamples in this process: a fork of a process with threads can hang."""
    variable = "DISABLE_MULTIPROC"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


@contextmanager
def _quiet(*, progress: bool) -> Iterator[None]:
    """In this context, the harness and what it uses log errors only, and print nothing on stdout."""
    datasets: Any = import_extra("datasets", extra="eval", purpose="evaluating a checkpoint")
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    bars = not datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        with Path(os.devnull).open("w") as nowhere, ExitStack() as streams:
            streams.enter_context(redirect_stdout(sys.stderr if progress else nowhere))
            if not progress:
                streams.enter_context(redirect_stderr(nowhere))
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
