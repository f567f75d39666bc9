"""The messages between the scheduler and a worker: a job to train a segment, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.study.compile.tree import Node, Tree
from deepen.study.define.start import Start
from deepen.train.settings import TrainSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """The file with a task's examples, and the sha256 of its content when the command began."""

    task: str
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Everything that a process needs to train one segment. Paths are absolute, as workers may be elsewhere.

    Attributes:
        node: the segment and its evaluations.
        folder: the study's folder.
        model: the model at its final depth.
        settings: training settings.
        dataset: the data.
        window: the largest context of the study, in tokens; batches are cut from windows of this size.
        validation_tokens: size of the validation text at the points of the curve.
        mark_tokens: size of the validation text at a mark.
        examples: the file of each task.
        start: the checkpoint from which the first segment of every run begins; None for fresh weights.
    """

    node: Node
    folder: Path
    model: ModelConfig
    settings: TrainSettings
    dataset: Dataset
    window: int
    validation_tokens: int
    mark_tokens: int
    examples: tuple[Examples, ...] = ()
    start: Start | None = None

    @property
    def first_token(self) -> int:
        """Where in the order of windows the run begins."""
        seed = self.node.seed
        return 0 if self.start is None else self.start.first_token(self.dataset.fingerprint, self.window, seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How training a segment ended: at its end (`finished`), at a stop before it, or with an error."""

    finished: bool = False
    error: Exception | None = None


def make_jobs(
    tree: Tree, dataset: Dataset, folder: Path, task_hashes: Mapping[str, str] | None = None
) -> dict[str, Job]:
    """The job of each segment of a compiled study, by key.

    Args:
        tree: the compiled study.
        dataset: its data.
        folder: the study's folder.
        task_hashes: the sha256 of each task's file, as study.json records it; by default that of the file now.
    """
    study, dataset = tree.study, dataset.with_absolute_paths()
    start = None if study.start is None else replace(study.start, path=study.start.path.resolve())
    examples = tuple(
        Examples(
            task=file.task,
            path=file.path.resolve(),
            sha256=file.sha256 if task_hashes is None else task_hashes[file.task],
        )
        for file in study.evaluation.tasks
    )
    return {
        key: Job(
            node=node,
            folder=folder.resolve(),
            model=study.model,
            settings=study.settings,
            dataset=dataset,
            window=study.context,
            validation_tokens=study.evaluation.validation_tokens,
            mark_tokens=study.mark_tokens,
            examples=examples,
            start=start,
        )
        for key, node in tree.nodes.items()
    }
