"""Evaluate a segment's model at a point of its training: the lines of evals.jsonl."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from deepen.data.shards import Dataset, Tokens
from deepen.errors import RunError
from deepen.evaluate.registry import get_task
from deepen.evaluate.scoring import TASK_BATCH_TOKENS, CompletionScorer, LanguageModel
from deepen.evaluate.task import DTYPES, LOSSES, MARK_VALIDATION, VALIDATION, Score
from deepen.evaluate.task_file import hash_task_file
from deepen.evaluate.validation import VALIDATION_BATCH_TOKENS, mean_loss, window_losses
from deepen.study.run.job import Examples, Job
from deepen.train.engine import TrainingEngine

_WINDOW_DIGITS = 6
"""Decimals of the loss of a window in evals.jsonl; fp32 computes no more."""


class EvaluationStopped(Exception):
    """The run should stop; what was evaluated so far is lost."""


def evaluate(
    tasks: Sequence[str],
    engine: TrainingEngine,
    job: Job,
    should_stop: Callable[[], bool],
    *,
    device: torch.device,
    processes: int = 1,
) -> list[dict[str, Any]]:
    """Evaluate a model; returns a line of evals.jsonl for each task.

    Args:
        tasks: names of tasks, or of `LOSSES`, which are computed in one pass over the text.
        engine: the segment's engine, at the point to evaluate.
        job: the segment.
        should_stop: called before each batch.
        device: where this process computes.
        processes: how many processes share the evaluation.

    Raises:
        EvaluationStopped: `should_stop` returned true.
    """
    progress, model = engine.progress, _StoppableModel(engine, should_stop)
    at = {
        "tokens": progress.tokens,
        "step": progress.step,
        "flops": progress.flops,
        "seconds": progress.seconds,
    }
    about = {"split": "validation", "dtype": DTYPES[job.settings.precision]}
    scores = _validate([task for task in tasks if task in LOSSES], model, job, device, processes)
    for task in tasks:
        if task not in LOSSES:
            scores[task] = _score_task(task, model, job, device, processes).to_json()
    return [{**at, "task": task, **about, **scores[task]} for task in tasks]


@dataclass(frozen=True, slots=True)
class _StoppableModel:
    """The model of an engine, until the run should stop."""

    engine: TrainingEngine
    should_stop: Callable[[], bool]

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None) -> Tensor:
        if self.should_stop():
            raise EvaluationStopped
        return self.engine.token_scores(tokens_bt, targets_bt, branches_bt)


def load_inputs(job: Job) -> None:
    """Load what the evaluations of a segment need, so that a file that cannot be used is found before training.

    Raises:
        RunError: the tokenizer or the file of a task is not the one with which the command began.
    """
    for examples in job.examples:
        if any(examples.task in point.tasks for point in job.node.evaluations):
            _load(examples, job.dataset)


def _validate(
    losses: Sequence[str], model: LanguageModel, job: Job, device: torch.device, processes: int
) -> dict[str, dict[str, Any]]:
    """The scores of some of `LOSSES`; that of a mark has the loss of each window, in nats per token."""
    if not losses:
        return {}
    sizes = {VALIDATION: job.validation_tokens, MARK_VALIDATION: job.mark_tokens}
    losses_w = window_losses(
        model,
        _validation_tokens(job.dataset),
        max(sizes[name] for name in losses),
        job.window,
        device=device,
        batch_tokens=VALIDATION_BATCH_TOKENS[device.type] * processes,
        part=job.validation_tokens,
    )
    scores = {}
    for name in losses:
        of_size_w = losses_w[: sizes[name] // job.window]
        scores[name] = _with_bits_per_byte(mean_loss(of_size_w, job.window), job.dataset).to_json()
        if name == MARK_VALIDATION:
            scores[name]["windows"] = [round(loss, _WINDOW_DIGITS) for loss in of_size_w.tolist()]
    return scores


def _with_bits_per_byte(score: Score, dataset: Dataset) -> Score:
    """A validation loss with its value per byte of text, if there is a tokenizer."""
    size = _validation_bytes(dataset, score.n)
    if size == 0:
        return score
    bits = Score(
        value=score.value * score.n / size / math.log(2),
        stderr=score.stderr * score.n / size / math.log(2),
        n=size,
    )
    return score.with_metrics({"loss": score, "bits_per_byte": bits})


def _score_task(task: str, model: LanguageModel, job: Job, device: torch.device, processes: int) -> Score:
    scorer = CompletionScorer(
        model=model,
        context=job.window,
        device=device,
        batch_tokens=TASK_BATCH_TOKENS[device.type] * processes,
    )
    (examples,) = (examples for examples in job.examples if examples.task == task)
    return get_task(task).score(scorer, _load(examples, job.dataset))


@lru_cache(maxsize=4)
def _validation_tokens(dataset: Dataset) -> Tokens:
    return dataset.tokens("validation")


@lru_cache(maxsize=4)
def _validation_bytes(dataset: Dataset, count: int) -> int:
    """The bytes of the text of the first validation tokens after the very first; 0 if there is no tokenizer."""
    if not dataset.tokenizer:
        return 0
    tokenizer = dataset.load_tokenizer()
    tokens = dataset.tokens("validation").window(1, count)
    return len(tokenizer.decode(tokens[tokens != tokenizer.end_of_text].tolist()).encode(errors="replace"))


@lru_cache(maxsize=16)
def _load(examples: Examples, dataset: Dataset) -> Sequence[Any]:
    """The examples of a task, tokenized; raises a RunError if its file or the tokenizer is no longer the same."""
    loaded = get_task(examples.task).load(examples.path, dataset.load_tokenizer())
    if hash_task_file(examples.path) != examples.sha256:
        raise RunError(
            f"the file of task {examples.task}, {examples.path}, has changed since the command began",
            remedy="restore it",
        )
    return loaded
