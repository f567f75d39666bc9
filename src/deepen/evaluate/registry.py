"""The tasks that can be evaluated. To add one, add an entry here."""

from deepen.errors import InvalidValueError, look_up
from deepen.evaluate import formats
from deepen.evaluate.encoding import split_by_length
from deepen.evaluate.language import LastWord, Text
from deepen.evaluate.multiple_choice import MultipleChoice
from deepen.evaluate.task import LOSSES, Task

_ALL: tuple[Task, ...] = (
    MultipleChoice(
        name="hellaswag",
        title="HellaSwag",
        chance=0.25,
        fields="ctx, endings, label",
        publish=formats.publish_hellaswag,
        parse=formats.parse_hellaswag,
        measures=("acc_token", "acc"),
    ),
    MultipleChoice(
        name="hellaswag-harness",
        title="HellaSwag (harness)",
        chance=0.25,
        fields="activity_label, ctx, endings, label; or query, choices, gold",
        publish=formats.publish_hellaswag,
        parse=formats.parse_hellaswag_harness,
        measures=("acc_norm", "acc"),
        split=split_by_length,
    ),
    MultipleChoice(
        name="arc-easy",
        title="ARC easy",
        chance=0.25,
        fields="question, choices, answerKey; or query, choices, gold",
        publish=formats.publish_arc,
        parse=formats.parse_arc,
        measures=("acc", "acc_norm"),
        split=split_by_length,
    ),
    MultipleChoice(
        name="arc-challenge",
        title="ARC challenge",
        chance=0.25,
        fields="question, choices, answerKey; or query, choices, gold",
        publish=formats.publish_arc,
        parse=formats.parse_arc,
        measures=("acc_norm", "acc"),
        split=split_by_length,
    ),
    MultipleChoice(
        name="piqa",
        title="PIQA",
        chance=0.5,
        fields="goal, sol1, sol2, label; or query, choices, gold",
        publish=formats.publish_piqa,
        parse=formats.parse_piqa,
        measures=("acc", "acc_norm"),
        split=split_by_length,
    ),
    MultipleChoice(
        name="winogrande",
        title="WinoGrande",
        chance=0.5,
        fields="sentence, option1, option2, answer; or context_options, continuation, gold",
        publish=formats.publish_winogrande,
        parse=formats.parse_winogrande,
        split=split_by_length,
    ),
    LastWord(name="lambada", title="LAMBADA"),
    MultipleChoice(
        name="blimp",
        title="BLiMP",
        chance=0.5,
        fields="sentence_good, sentence_bad",
        parse=formats.parse_blimp,
        split=split_by_length,
        part_field="UID",
    ),
    Text(name="text", title="Text"),
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
    if task.name in TASKS or task.name in LOSSES:
        raise InvalidValueError(f"{task.name!r} is taken", field="task", value=task.name, remedy="choose another")
    TASKS[task.name] = task
