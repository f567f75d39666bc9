"""Evaluate a checkpoint: with lm-evaluation-harness, and with our own tasks as they are scored during training."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from deepen.evaluate.harness import HarnessScore, run_harness
from deepen.evaluate.harness_tasks import HarnessTask
from deepen.evaluate.multiple_choice import MultipleChoice
from deepen.evaluate.registry import get_task
from deepen.evaluate.scoring import TASK_BATCH_TOKENS, CompletionScorer
from deepen.evaluate.task import Task
from deepen.interop.checkpoint import Checkpoint, HuggingFaceCheckpoint
from deepen.interop.export import export_hugging_face
from deepen.interop.hugging_face.weight_files import find_tensors
from deepen.interop.load import load_checkpoint_tokenizer, load_model
from deepen.model.decoder import Decoder
from deepen.train.device import autocast, pick_device


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointScore(HarnessScore):
    """One metric of one task of the harness's or of deepen's; `by` is "harness" or "deepen"."""

    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointScores:
    """The scores of a checkpoint.

    Attributes:
        scores: those of the harness, then ours.
        harness: the version of lm-evaluation-harness; empty if it did not run.
        details: the harness's results as it returns them.
    """

    scores: tuple[CheckpointScore, ...]
    harness: str
    details: Mapping[str, Any] = field(default_factory=dict)


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    harness_tasks: Sequence[HarnessTask],
    own_tasks: Mapping[str, Path] = MappingProxyType({}),
    *,
    precision: str = "fp32",
    batch_size: int = 0,
    limit: int | None = None,
    shots: int | None = None,
    samples: bool = False,
    progress: bool = False,
) -> CheckpointScores:
    """Score a checkpoint on tasks, on the GPU if there is one.

    Args:
        checkpoint: ours, which is exported to a temporary folder for the harness, or a Hugging Face folder.
        harness_tasks: tasks of the harness; any decoder that transformers loads can be scored.
        own_tasks: the file of each of our tasks, by name; the checkpoint must be of a family that deepen trains.
        precision, batch_size, limit, shots, samples, progress: see `run_harness`; the batch size and the examples
            in prompts are the harness's only.

    Raises:
        InvalidValueError: a task, its file or the checkpoint cannot be used.
    """
    own = _score_own(checkpoint, own_tasks, precision, limit)
    if not harness_tasks:
        return CheckpointScores(scores=own, harness="")
    with _as_hugging_face(checkpoint) as folder:
        results = run_harness(
            folder,
            harness_tasks,
            device=pick_device().type,
            precision=precision,
            batch_size=batch_size,
            limit=limit,
            shots=shots,
            samples=samples,
            progress=progress,
        )
    theirs = (CheckpointScore(by="harness", **asdict(score)) for score in results.scores)
    return CheckpointScores(scores=(*theirs, *own), harness=results.version, details=results.details)


@contextmanager
def _as_hugging_face(checkpoint: Checkpoint) -> Iterator[Path]:
    """A folder in Hugging Face's format for a `with` block."""
    if isinstance(checkpoint, HuggingFaceCheckpoint):
        find_tensors(checkpoint.folder)  # refuses pickles and damaged files, and says what to do
        yield checkpoint.folder
        return
    with TemporaryDirectory(prefix="deepen-eval-") as temporary:
        folder = Path(temporary) / "checkpoint"
        export_hugging_face(checkpoint, folder)
        yield folder


@dataclass(frozen=True, slots=True)
class _Network:
    """A network that scores in a precision."""

    model: Decoder
    device: torch.device
    precision: str

    def token_scores(self, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None) -> Tensor:
        with autocast(self.device, self.precision):
            return self.model.token_scores(tokens_bt, targets_bt, branches_bt)


def _score_own(
    checkpoint: Checkpoint, tasks: Mapping[str, Path], precision: str, limit: int | None
) -> tuple[CheckpointScore, ...]:
    """The scores on our tasks, each metric on its own, the task's value first."""
    if not tasks:
        return ()
    device = pick_device()
    tokenizer = load_checkpoint_tokenizer(checkpoint)
    model = CompletionScorer(
        model=_Network(load_model(checkpoint).to(device), device, precision),
        context=checkpoint.model.context,
        device=device,
        batch_tokens=TASK_BATCH_TOKENS[device.type],
    )
    scores = []
    for name, file in tasks.items():
        task = get_task(name)
        score = task.score(model, _take_first(task, file, task.load(file, tokenizer), limit))
        metrics = score.metrics if score.metrics else {task.metric: score.value}
        scores += [
            CheckpointScore(
                by="deepen",
                task=name,
                metric=metric,
                value=value,
                stderr=metrics.get(f"{metric}_stderr"),
                n=score.n,
                shots=0,
                group="",
            )
            for metric, value in metrics.items()
            if not metric.endswith("_stderr")
        ]
    return tuple(scores)


def _take_first(task: Task, file: Path, examples: Sequence[Any], limit: int | None) -> Sequence[Any]:
    """The first examples; of a task with parts, those of each part, as the harness takes them."""
    if limit is None or not isinstance(task, MultipleChoice) or not task.part_field:
        return examples[:limit]
    taken: Counter[str] = Counter()
    first = []
    for row, example in zip(task.rows(file), examples, strict=True):
        part = str(row.get(task.part_field))
        taken[part] += 1
        if taken[part] <= limit:
            first.append(example)
    return first
