"""`deepen eval CKPT --tasks NAMES`: the scores of a checkpoint."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.checkpoint_options import (
    CHECKPOINT_ARGUMENT,
    WHICH_RUN,
    parse_checkpoint,
)
from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.parser import parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import FILE, NEW_FILE, ValueType, one_of, read_text, whole_number
from deepen.errors import InvalidValueError
from deepen.evaluate.harness_tasks import LOCAL_TASKS, HarnessTask
from deepen.evaluate.registry import TASKS, get_task
from deepen.interop.checkpoint import Checkpoint
from deepen.study.define.evaluation import TaskFile
from deepen.train.settings import PRECISIONS

_OWN = "deepen:"
"""What precedes the name of a task of deepen's."""


def _read_tasks(text: str) -> tuple[tuple[str, Path | None], ...]:
    """Tasks separated by commas, each a name or NAME=FILE."""
    return tuple(_read_task(part.strip()) for part in text.split(","))


def _read_task(text: str) -> tuple[str, Path | None]:
    name, equals, file = text.partition("=")
    return read_text(name), FILE.read(file) if equals else None


COMMAND = Command(
    name="eval",
    about="Evaluate a checkpoint with lm-evaluation-harness: any of its tasks, by its names. The examples of a "
    "task are downloaded unless a local file has them.",
    argument=CHECKPOINT_ARGUMENT,
    groups=(
        OptionGroup(
            title="Tasks",
            options=(
                Option(
                    name="tasks",
                    takes=ValueType(
                        metavar="NAME[=FILE],...",
                        read=_read_tasks,
                        names=tuple(LOCAL_TASKS),
                    ),
                    help=f"tasks of the harness, separated by commas. {', '.join(LOCAL_TASKS)} can have a file of "
                    f"examples (JSONL, or for blimp its folder). With {_OWN} before its name, a task of deepen's "
                    "is scored as during training",
                    default_help="none; must be given",
                    repeats=True,
                    default=(),
                ),
                Option(
                    name="limit",
                    takes=whole_number(minimum=1),
                    help="number of examples of each task, or of each part of a group such as blimp, the first "
                    "ones; for a quick look",
                    default_help="all",
                ),
                Option(
                    name="shots",
                    takes=whole_number(maximum=1000),
                    help="number of examples in each prompt, for tasks that are downloaded",
                    default_help="what the task's definition says, mostly 0",
                ),
            ),
        ),
        OptionGroup(
            title="Computation",
            options=(
                Option(
                    name="precision",
                    takes=one_of(PRECISIONS),
                    help="precision of weights and activations",
                    default="fp32",
                ),
                Option(
                    name="batch-size",
                    takes=whole_number(minimum=1, maximum=10**6),
                    help="number of rows that the harness computes at once",
                    default_help="16 on a CPU, the largest that fits on a GPU",
                ),
            ),
        ),
        WHICH_RUN,
        OptionGroup(
            title="Output",
            options=(
                Option(
                    name="out",
                    short="-o",
                    takes=NEW_FILE,
                    help="JSON file for the harness's whole result, with its answer to each example",
                    default_help="none",
                ),
                JSON_OPTION,
            ),
        ),
    ),
    examples=(
        Example(line="deepen train full --steps 200", purpose="a run to evaluate"),
        Example(
            line="deepen eval deepen-runs/full-nano-seed-0 --tasks hellaswag,arc_easy,blimp",
            purpose="three benchmarks, downloaded",
        ),
        Example(
            line="deepen eval ./gpt2 --tasks hellaswag=hellaswag_val.jsonl,deepen:hellaswag=hellaswag_val.jsonl",
            purpose="HellaSwag from a local file, in the harness's convention and in the paper's",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalRequest:
    """What to score, and how; `path` is how the checkpoint was named."""

    command: ClassVar[Command] = COMMAND
    checkpoint: Checkpoint
    path: Path
    harness_tasks: tuple[HarnessTask, ...]
    own_tasks: tuple[TaskFile, ...]
    limit: int | None
    shots: int | None
    precision: str
    batch_size: int
    out: Path | None
    as_json: bool


def parse(argv: Sequence[str]) -> EvalRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    checkpoint = parse_checkpoint(arguments)
    named = [task for given in arguments["tasks"] for task in given]
    if not named and "tasks" not in arguments.refused:
        arguments.add("--tasks is missing: name at least one, such as hellaswag=hellaswag_val.jsonl")
    tasks = [arguments.attempt(partial(_make_task, name, file)) for name, file in named]
    harness_tasks = tuple(task for task in tasks if isinstance(task, HarnessTask))
    own_tasks = tuple(task for task in tasks if isinstance(task, TaskFile))
    if "out" in arguments and named and all(name.startswith(_OWN) for name, _ in named):
        arguments.add("--out is for the harness's result, and no task of the harness is asked for")
    arguments.check()
    assert checkpoint is not None
    return EvalRequest(
        checkpoint=checkpoint,
        path=Path(arguments.argument),
        harness_tasks=harness_tasks,
        own_tasks=own_tasks,
        limit=arguments.values.get("limit"),
        shots=arguments.values.get("shots"),
        precision=arguments["precision"],
        batch_size=arguments.get("batch_size", 0),
        out=arguments.values.get("out"),
        as_json="json" in arguments,
    )


def _make_task(name: str, file: Path | None) -> HarnessTask | TaskFile:
    """A task, its file checked line by line. Raises an InvalidValueError if the file cannot be used."""
    if name.startswith(_OWN):
        return _make_own_task(name, file)
    name = _find_name(name, LOCAL_TASKS)
    if file is not None and name in TASKS and name not in LOCAL_TASKS:
        raise _named_like_ours(name)
    task = HarnessTask(name=name, file=file)
    if file is not None:
        get_task(LOCAL_TASKS[name].parser).check(file)
    return task


def _make_own_task(name: str, file: Path | None) -> TaskFile:
    task = get_task(_find_name(name.removeprefix(_OWN), TASKS))
    if file is None:
        raise InvalidValueError(f"{name} has no file", field="tasks", value=name, remedy=f"write {name}=FILE")
    task.check(file)
    return TaskFile(task=task.name, path=file)


def _find_name(name: str, known: Iterable[str]) -> str:
    """The known name that differs in hyphens and underscores only: the harness has arc_easy, deepen arc-easy."""
    same = (each for each in known if each.replace("-", "_") == name.replace("-", "_"))
    return next(same, name)


def _named_like_ours(name: str) -> InvalidValueError:
    """The error for a task of deepen's that the harness has under another name, or not at all."""
    theirs = [f"{each}=FILE" for each, task in LOCAL_TASKS.items() if task.parser == name]
    return InvalidValueError(
        f"{name} is a task of deepen's",
        field="tasks",
        value=name,
        remedy=", or ".join([f"write {_OWN}{name}=FILE", *(f"{each} for the harness's" for each in theirs)]),
    )
