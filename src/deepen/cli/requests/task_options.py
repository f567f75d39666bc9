"""The options that name tasks and their files, shared by `deepen study` and `deepen train`."""

from dataclasses import replace
from typing import Any

from deepen.cli.requests.command import Option
from deepen.cli.requests.value_types import FILE, ValueType, one_of
from deepen.evaluate.registry import TASKS
from deepen.study.define.evaluation import Evaluation, TaskFile


def _read_task(text: str) -> TaskFile:
    """A task's name and file, such as hellaswag=hellaswag.jsonl."""
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise ValueError(f"is {text!r}: write NAME=FILE, such as {next(iter(TASKS))}=examples.jsonl")
    return TaskFile(task=one_of(TASKS).read(name), path=FILE.read(file))


HELLASWAG_OPTION = Option(
    name="hellaswag",
    takes=FILE,
    help="HellaSwag's JSONL file, gzipped or not; short for --task hellaswag=FILE",
    default_help="none",
)
TASK_OPTION = Option(
    name="task",
    takes=ValueType(metavar="NAME=FILE", read=_read_task, names=tuple(f"{name}=" for name in TASKS)),
    help="a task and the file of its examples, scored along the run and at the marks; may be given "
    "more than once. It begins with",
    default_help="none",
    repeats=True,
)


def given_tasks(values: dict[str, Any]) -> tuple[TaskFile, ...]:
    """The tasks that are asked for, in either way."""
    tasks: tuple[TaskFile, ...] = values.get("task", ())
    if "hellaswag" in values:
        return (TaskFile(task="hellaswag", path=values["hellaswag"]), *tasks)
    return tasks


def add_tasks(evaluation: Evaluation, tasks: tuple[TaskFile, ...]) -> Evaluation:
    """The evaluations with these tasks; those that are not named again stay."""
    if not tasks:
        return evaluation
    named = {task.task for task in tasks}
    kept = tuple(task for task in evaluation.tasks if task.task not in named)
    every = evaluation.tasks_every_tokens or evaluation.every_tokens
    return replace(evaluation, tasks=(*kept, *tasks), tasks_every_tokens=every)
