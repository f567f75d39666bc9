"""The messages between the scheduler and a worker: a job to train a segment, and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.study.compile.tree import Node, Tree
from deepen.train.settings import TrainSettings


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
        validation_tokens: size of the validation set.
        task_files: the file of each task.
    """

    node: Node
    folder: Path
    model: ModelConfig
    settings: TrainSettings
    dataset: Dataset
    window: int
    validation_tokens: int
    task_files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How training a segment ended: at its end (`finished`), at a stop before it, or with an error."""

    finished: bool = False
    error: Exception | None = None


def make_jobs(tree: Tree, dataset: Dataset, folder: Path) -> dict[str, Job]:
    """The job of each segment of a compiled study, by key."""
    study = tree.study
    dataset = replace(
        dataset,
        folder=dataset.folder.resolve(),
        train=tuple(path.resolve() for path in dataset.train),
        validation=tuple(path.resolve() for path in dataset.validation),
    )
    task_files = {file.task: file.path.resolve() for file in study.evaluation.tasks}
    return {
        key: Job(
            node=node,
            folder=folder.resolve(),
            model=study.model,
            settings=study.settings,
            dataset=dataset,
            window=study.context,
            validation_tokens=study.evaluation.validation_tokens,
            task_files=task_files,
        )
        for key, node in tree.nodes.items()
    }
