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
from deepen.evaluate.task import DTYPES, VALIDATION, Score
from deepen.evaluate.task_file import hash_task_file
from deepen.evaluate.validation import VALIDATION_BATCH_TOKENS, validation_loss
from deepen.study.run.job import Examples, Job
from deepen.train.engine import TrainingEngine


class EvaluationStopped(Exception):
    """The run should stop; what was evaluated so far is lost."""


def evaluate(
    task: str,
    engine: TrainingEngine,
    job: Job,
    should_stop: Callable[[], bool],
    *,
    device: torch.device,
    processes: int = 1,
) -> dict[str, Any]:
    """Evaluate a model; returns one line of evals.jsonl.

    Args:
        task: the name of a task, or "validation".
        engine: the segment's engine, at the point to evaluate.
        job: the segment.
        should_stop: called before each batch.
        device: where this process computes.
        processes: how many processes share the evaluation.

    Raises:
        EvaluationStopped: `should_stop` returned true.
    """
    progress, model = engine.progress, _StoppableModel(engine, should_stop)
    if task == VALIDATION:
        score = _validate(model, job, device, processes)
    else:
        score = _score_task(task, model, job, device, processes)
    return {
        "tokens": progress.tokens,
        "step": progress.step,
        "flops": progress.flops,
        "seconds": progress.seconds,
        "task": task,
        "split": "validation",
        "dtype": DTYPES[job.settings.precision],
        **score.to_json(),
    }


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


def _validate(model: LanguageModel, job: Job, device: torch.device, processes: int) -> Score:
    score = validation_loss(
        model,
        _validation_tokens(job.dataset),
        job.validation_tokens,
        job.window,
        device=device,
        batch_tokens=VALIDATION_BATCH_TOKENS[device.type] * processes,
    )
    size = _validation_bytes(job.dataset, score.n)
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
