"""Evaluate a segment's model at a point of its training: the lines of evals.jsonl."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from deepen.data.shards import Dataset, Tokens
from deepen.data.tokenizers import load_tokenizer
from deepen.evaluate.registry import get_task
from deepen.evaluate.scoring import TASK_BATCH_TOKENS, CompletionScorer
from deepen.evaluate.task import VALIDATION, Score
from deepen.evaluate.validation import VALIDATION_BATCH_TOKENS, validation_loss
from deepen.study.run.job import Job
from deepen.train.engine import TrainingEngine


def evaluate(
    task: str, engine: TrainingEngine, job: Job, *, device: torch.device, processes: int = 1
) -> dict[str, Any]:
    """Evaluate a model; returns one line of evals.jsonl.

    Args:
        task: the name of a task, or "validation".
        engine: the segment's engine, at the point to evaluate.
        job: the segment.
        device: where this process computes.
        processes: how many processes share the evaluation.
    """
    progress = engine.progress
    if task == VALIDATION:
        score = _validate(engine, job, device, processes)
    else:
        score = _score_task(task, engine, job, device, processes)
    return {
        "tokens": progress.tokens,
        "step": progress.step,
        "flops": progress.flops,
        "seconds": progress.seconds,
        "task": task,
        "split": "validation",
        **score.to_json(),
    }


def _validate(engine: TrainingEngine, job: Job, device: torch.device, processes: int) -> Score:
    return validation_loss(
        engine,
        _validation_tokens(job.dataset),
        job.validation_tokens,
        job.window,
        device=device,
        batch_tokens=VALIDATION_BATCH_TOKENS[device.type] * processes,
    )


def _score_task(task: str, engine: TrainingEngine, job: Job, device: torch.device, processes: int) -> Score:
    scorer = CompletionScorer(
        model=engine,
        context=job.window,
        device=device,
        batch_tokens=TASK_BATCH_TOKENS[device.type] * processes,
    )
    return get_task(task).score(scorer, _examples(task, job.task_files[task], job.dataset))


@lru_cache(maxsize=4)
def _validation_tokens(dataset: Dataset) -> Tokens:
    return dataset.tokens("validation")


@lru_cache(maxsize=2)
def _examples(task: str, path: Path, dataset: Dataset) -> Sequence[Any]:
    return get_task(task).load(path, load_tokenizer(dataset.folder))
