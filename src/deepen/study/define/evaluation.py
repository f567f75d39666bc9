"""How the runs of a study are evaluated: validation loss, and tasks with the files of their examples."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deepen.errors import InvalidValueError, is_whole
from deepen.evaluate.registry import get_task
from deepen.evaluate.task_file import hash_task_file

MARK_TOKENS = 20 * 524_288
"""The most validation text that is used at a mark, in tokens: the set of Li, Fung & Huang 2024."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFile:
    """A task and the file with its examples.

    Attributes:
        task: a name in `deepen.evaluate.registry.TASKS`.
        path: the file; results depend only on its content (`sha256`).
    """

    task: str
    path: Path = field(metadata={"identity": False})

    def __post_init__(self) -> None:
        get_task(self.task)
        if not isinstance(self.path, str | os.PathLike):
            raise InvalidValueError(
                f"of task {self.task} is {self.path!r}: it must be the path of a file",
                field="path",
                value=self.path,
            )
        object.__setattr__(self, "path", Path(self.path))

    @property
    def sha256(self) -> str:
        """The hash of the file's current content.

        Raises:
            TaskError: the file does not exist or cannot be read.
        """
        return hash_task_file(self.path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How a run is evaluated: validation loss and tasks. Both are always evaluated at the marks.

    Attributes:
        every_tokens: tokens between two points of the validation curve.
        validation_tokens: size of the validation text at the points of the curve.
        mark_tokens: the most validation text that is used at a mark, where losses are compared; the text of the
            curve's points is the beginning of it (see also `Study.mark_tokens`).
        tasks: the tasks to score.
        tasks_every_tokens: tokens between two scores of a task during the run; 0 for scores at the marks only.
    """

    every_tokens: int
    validation_tokens: int
    tasks: tuple[TaskFile, ...] = ()
    tasks_every_tokens: int = 0
    mark_tokens: int = MARK_TOKENS

    def __post_init__(self) -> None:
        for name in ("every_tokens", "validation_tokens", "tasks_every_tokens", "mark_tokens"):
            value, lowest = getattr(self, name), 0 if name == "tasks_every_tokens" else 1
            if not is_whole(value):
                raise InvalidValueError(f"is {value!r}: it must be a whole number", field=name, value=value)
            if value < lowest:
                raise InvalidValueError(f"is {value}: it must be at least {lowest}", field=name, value=value)
            object.__setattr__(self, name, int(value))  # JSON has no whole numbers of numpy
        if not isinstance(self.tasks, Sequence) or not all(isinstance(file, TaskFile) for file in self.tasks):
            raise InvalidValueError(
                f"is {self.tasks!r}: it must be a tuple of deepen.TaskFile", field="tasks", value=self.tasks
            )
        names = [file.task for file in self.tasks]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise InvalidValueError(f"name {min(repeated)!r} twice: give each task one file", field="tasks")

    @property
    def at_ends(self) -> "Evaluation":
        """The evaluation of a run of which only the loss at its end counts."""
        return replace(self, every_tokens=_NEVER, tasks=(), tasks_every_tokens=0)


_NEVER = 10**18
"""A spacing in tokens that no run reaches."""
