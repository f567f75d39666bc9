"""What an evaluation refuses, and what identifies the file of a task."""

from pathlib import Path
from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.evaluate.task import TaskError
from deepen.study.define.evaluation import Evaluation, TaskFile


@pytest.mark.parametrize("value", [1e5, "32k", None, True])
@pytest.mark.parametrize("name", ["every_tokens", "validation_tokens", "tasks_every_tokens", "mark_tokens"])
def test_an_evaluation_is_in_whole_tokens(name: str, value: Any):
    with pytest.raises(InvalidValueError, match=f"{name} is .*: it must be a whole number"):
        Evaluation(**({"every_tokens": 512, "validation_tokens": 512} | {name: value}))


@pytest.mark.parametrize("tasks", [None, "hellaswag", ("hellaswag",)])
def test_an_evaluation_has_task_files_and_a_task_file_a_path(tasks: Any):
    with pytest.raises(InvalidValueError, match=r"tasks is .*: it must be a tuple of deepen.TaskFile"):
        Evaluation(every_tokens=1, validation_tokens=1, tasks=tasks)
    with pytest.raises(InvalidValueError, match="path of task hellaswag is None"):
        TaskFile(task="hellaswag", path=None)  # type: ignore[arg-type]


def test_each_task_has_one_file(tmp_path: Path):
    file = TaskFile(task="hellaswag", path=tmp_path / "items.jsonl")
    with pytest.raises(InvalidValueError, match="tasks name 'hellaswag' twice"):
        Evaluation(every_tokens=1, validation_tokens=1, tasks=(file, file))
    with pytest.raises(InvalidValueError, match="'swag' is unknown"):
        TaskFile(task="swag", path=file.path)


def test_a_task_file_is_identified_by_its_content(tmp_path: Path):
    one, same, other = (TaskFile(task="hellaswag", path=tmp_path / name) for name in ("one", "same", "other"))
    one.path.write_text("{}\n")
    same.path.write_text("{}\n")
    other.path.write_text("{}\n\n")
    assert one.sha256 == same.sha256 != other.sha256
    with pytest.raises(TaskError, match="does not exist"):
        _ = TaskFile(task="hellaswag", path=tmp_path / "none").sha256
