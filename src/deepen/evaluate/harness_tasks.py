"""The tasks of lm-evaluation-harness: by name, and with the examples of a local file in place of a download.

A task keeps the harness's definition (prompt, choices, metrics); only its examples are replaced. A file is read by
the task of deepen's that has the same prompt, and becomes rows in the form in which the task was published.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepen.errors import InvalidValueError, nearest
from deepen.evaluate.registry import TASKS, get_task
from deepen.evaluate.task_file import Row
from deepen.extras import import_extra


def import_harness(module: str = "") -> Any:
    """A module of lm-evaluation-harness. Raises an InvalidValueError if it is not installed."""
    return import_extra(f"lm_eval{module}", extra="eval", purpose="evaluating a checkpoint")


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalTask:
    """A task of the harness that can read a local file.

    `folder` has its definition inside the harness, `split` is the split that it evaluates, and `parser` names our
    task that reads the file.
    """

    folder: str
    split: str
    parser: str


_SHOTS_SEED = 1234
"""The harness's default: it chooses the examples in prompts."""

LOCAL_TASKS: Mapping[str, LocalTask] = {
    "hellaswag": LocalTask(folder="hellaswag", split="validation", parser="hellaswag-harness"),
    "arc_easy": LocalTask(folder="arc", split="test", parser="arc-easy"),
    "arc_challenge": LocalTask(folder="arc", split="test", parser="arc-challenge"),
    "piqa": LocalTask(folder="piqa", split="validation", parser="piqa"),
    "winogrande": LocalTask(folder="winogrande", split="validation", parser="winogrande"),
    "lambada_openai": LocalTask(folder="lambada", split="test", parser="lambada"),
    "blimp": LocalTask(folder="blimp", split="validation", parser="blimp"),
}
"""The tasks that can be evaluated without a network, by the harness's names. To add one, add an entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HarnessTask:
    """A task, group or tag of the harness by name; `file` has its examples, None downloads them."""

    name: str
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.file is not None and self.name not in LOCAL_TASKS:
            raise InvalidValueError(
                f"{self.name} cannot be read from a file{nearest(self.name, LOCAL_TASKS)}",
                field="tasks",
                value=self.name,
                remedy=f"use {', '.join(LOCAL_TASKS)}, or leave out the file to download the task's data",
            )


def load_tasks(tasks: Sequence[HarnessTask], shots: int | None) -> Any:
    """The harness's tasks and groups, in the form that its `evaluate` takes.

    Args:
        tasks: names, and files.
        shots: examples in the prompt; None means as many as a task's definition says.

    Raises:
        InvalidValueError: a task is unknown, or its data cannot be downloaded or read.
    """
    manager = _find_definitions([task.name for task in tasks])
    loaded: list[Any] = []
    for task in tasks:
        if task.file is None:
            loaded += _download_task(task.name, manager)
        elif shots:
            raise InvalidValueError(
                f"is {shots}, but the file of {task.name} has no examples for prompts",
                field="shots",
                value=shots,
                remedy="use 0, or leave out the file to download the task's data",
            )
        else:
            loaded += _load_from_file(task.name, task.file, manager)
    whole = manager.load(loaded)
    for each in whole["tasks"].values():
        _set_shots(each, shots)
    return whole


def _find_definitions(names: Sequence[str]) -> Any:
    """The harness's task manager, with the definitions of these tasks at least; reading all takes seconds."""
    tasks = import_harness(".tasks")
    if all(name in LOCAL_TASKS for name in names):
        root = Path(tasks.__file__).parent
        folders = dict.fromkeys(LOCAL_TASKS[name].folder for name in names)
        return tasks.TaskManager(include_defaults=False, include_path=[str(root / folder) for folder in folders])
    manager = tasks.TaskManager()
    for name in names:
        if name not in manager.all_tasks:
            raise InvalidValueError(
                f"{name!r} is unknown to lm-evaluation-harness{nearest(name, manager.all_tasks)}",
                field="tasks",
                value=name,
                remedy=f"deepen's own task is `tasks` deepen:{name}=FILE"
                if name in TASKS
                else "`lm-eval ls tasks` lists its tasks",
            )
    return manager


def _set_shots(task: Any, shots: int | None) -> None:
    """Set the number of examples in the prompt, unless the task's definition has none by design."""
    if getattr(task, "UNSAFE_CODE", False):
        raise InvalidValueError(
            f"{task.task_name} executes code that the model writes, which is not done here",
            field="tasks",
            value=task.task_name,
            remedy="export the checkpoint and run lm-eval with --confirm_run_unsafe_code",
        )
    defined = task.get_config("num_fewshot")
    task.set_config(key="num_fewshot", value=(defined or 0) if shots is None or defined == 0 else shots)
    task.set_fewshot_seed(seed=_SHOTS_SEED)


def _download_task(name: str, manager: Any) -> list[Any]:
    """A task, a group, or the tasks with a tag, with their examples from the Hub or from its cache."""
    try:
        return _top_level(manager.load([name]))
    except (OSError, ValueError, RuntimeError) as error:  # a dataset's name, the network, a script that is refused
        remedy = "try again with a network"
        if name in LOCAL_TASKS:
            remedy += f", or give its examples as a local file: `tasks` {name}=FILE"
        raise InvalidValueError(
            f"the data of {name} cannot be loaded ({str(error).splitlines()[0]})",
            field="tasks",
            value=name,
            remedy=remedy,
        ) from None


def _load_from_file(name: str, file: Path, manager: Any) -> list[Any]:
    """A task as the harness defines it, except for where its examples come from."""
    local = LOCAL_TASKS[name]
    reader: Any = get_task(local.parser)  # all our tasks have `rows`, other people's need not
    rows = reader.rows(file)
    parts = _divide_blimp(rows, manager) if name == "blimp" else {name: rows}
    changes = [_replace_data(part, examples, local.split) for part, examples in parts.items()]
    # Only as members of a group are definitions changed, not replaced.
    tasks = list(manager.load([{"group": "local", "task": changes}])["tasks"].values())
    return [_group_blimp(tasks)] if name == "blimp" else tasks


def _divide_blimp(rows: Sequence[Row], manager: Any) -> dict[str, list[Row]]:
    """The rows of each of the harness's tasks, one for each phenomenon."""
    parts = defaultdict(list)
    for row in rows:
        parts[f"blimp_{row.get('UID')}"].append(row)
    for name in parts:
        if name not in manager.all_tasks:
            raise InvalidValueError(
                f"blimp has rows with UID {name.removeprefix('blimp_')!r}, which is not a phenomenon of BLiMP",
                field="tasks",
                value=name,
                remedy="use BLiMP's files as published",
            )
    return dict(sorted(parts.items()))


def _group_blimp(tasks: Sequence[Any]) -> Any:
    """The group whose accuracy is the mean of its parts, as the harness defines it."""
    groups = import_harness(".api.group")
    group = groups.Group(
        name="blimp", aggregate_metric_list=[groups.AggMetricConfig(metric="acc", weight_by_size=False)]
    )
    for task in tasks:
        group.add(task)
    return group


def _replace_data(name: str, rows: Sequence[Row], split: str) -> dict[str, Any]:
    """What to change in a task's definition so that it evaluates these rows."""
    datasets: Any = import_extra("datasets", extra="eval", purpose="evaluating a checkpoint")
    data = datasets.Dataset.from_list(list(rows))
    splits = {"training_split": None, "validation_split": None, "test_split": None, "fewshot_split": None}
    return {
        "task": name,
        **splits,
        f"{split}_split": split,
        "custom_dataset": lambda **_: {split: data},
    }


def _top_level(loaded: Mapping[str, Any]) -> list[Any]:
    """The groups that are in no other group, and the tasks that are in none."""
    groups, tasks = loaded.get("groups", {}), loaded["tasks"]
    inside = {child for children in loaded.get("group_map", {}).values() for child in children}
    return [each for name, each in (*groups.items(), *tasks.items()) if name not in inside]
