"""The tasks that can be evaluated. To add one, add an entry here."""

from deepen.errors import InvalidValueError, look_up
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
    """Look up a task by name.

    Raises:
        InvalidValueError: there is no such task.
    """
    return look_up(TASKS, name, field="task")


def register_task(task: Task) -> None:
    """Add a task from outside this package, in this process only.

    Worker processes import this module again and know only the entries above, so a task that they should score has
    to be an entry.

    Raises:
        InvalidValueError: its name is taken.
    """
    if task.name in TASKS or task.name == VALIDATION:
        raise InvalidValueError(f"{task.name!r} is taken", field="task", value=task.name, remedy="choose another")
    TASKS[task.name] = task
