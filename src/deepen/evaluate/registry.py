"""The tasks that can be evaluated. A new one is one more entry."""

from deepen.errors import InvalidValueError
from deepen.evaluate.multiple_choice import MultipleChoice, parse_hellaswag
from deepen.evaluate.task import VALIDATION, Task

_ALL: tuple[Task, ...] = (
    MultipleChoice(
        name="hellaswag", title="HellaSwag", chance=0.25, fields="ctx, endings, label", parse=parse_hellaswag
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL}
"""Tasks by name."""


def get_task(name: str) -> Task:
    """The task of a name.

    Raises:
        InvalidValueError: there is none.
    """
    if name not in TASKS:
        raise InvalidValueError(
            f"{name!r} is unknown", field="task", value=name, remedy=f"use {', '.join(TASKS)}", allowed=TASKS
        )
    return TASKS[name]


def register_task(task: Task) -> None:
    """Add a task from outside this package, to this process only.

    The processes that train a study's segments import this module anew: a task that they score is an entry above.

    Raises:
        InvalidValueError: its name is taken.
    """
    if task.name in TASKS or task.name == VALIDATION:
        raise InvalidValueError(f"{task.name!r} is taken", field="task", value=task.name, remedy="choose another")
    TASKS[task.name] = task
