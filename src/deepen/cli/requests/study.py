"""`deepen study NAME`: a study by name or from a Python file, with what the command line changes of it."""

import inspect
import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.executor import EXECUTOR_OPTION, JOBS_OPTION, parse_executor
from deepen.cli.requests.model_options import MODEL_OPTION
from deepen.cli.requests.parser import Arguments, parse_arguments
from deepen.cli.requests.recipe_options import PRESET_OPTION
from deepen.cli.requests.run_request import RunRequest
from deepen.cli.requests.training_options import (
    COMPILE_OPTION,
    JSON_OPTION,
    KEEP_OPTION,
    LR_OPTION,
    MOMENT_PRECISION_OPTION,
    OUT_OPTION,
    PRECISION_OPTION,
    RATE_OPTION,
    RUNS_FOLDER,
    SHARD_OPTION,
    SPIKE_OPTION,
    TOKENS_OPTION,
    VERIFY_OPTION,
    check_shard,
    parse_settings,
)
from deepen.cli.requests.value_types import (
    FILE,
    FOLDER,
    Completion,
    ValueType,
    number,
    one_of,
    whole_number,
)
from deepen.errors import nearest
from deepen.evaluate.registry import TASKS
from deepen.model.config import ModelConfig
from deepen.model.presets import PEAK_RATES, PRESETS
from deepen.schedule.grid import round_to_steps
from deepen.schedule.rate import RATES, Rate
from deepen.study.define.executor import local
from deepen.study.define.presets import STUDIES
from deepen.study.define.study import Evaluation, Study, TaskFile

_THE_STUDYS = "the study's"


def _read_task(text: str) -> TaskFile:
    """A task's name and file, such as hellaswag=hellaswag.jsonl."""
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise ValueError(f"is {text!r}: write NAME=FILE, such as {next(iter(TASKS))}=examples.jsonl")
    return TaskFile(task=one_of(TASKS).read(name), path=FILE.read(file))


STUDY_GROUPS = (
    OptionGroup(
        title="What is compared",
        options=(
            Option(
                name="seeds",
                takes=whole_number(minimum=1, maximum=1000),
                help="number of seeds",
                default_help=_THE_STUDYS,
            ),
            replace(MODEL_OPTION, help="another model", default_help=_THE_STUDYS),
            replace(
                PRESET_OPTION, help="the paper as it is written, or as its code was released", owners=("paper",)
            ),
            replace(TOKENS_OPTION, default_help=_THE_STUDYS),
            Option(
                name="scale",
                takes=number("SHARE", maximum=1000),
                help="share of the study's tokens: 0.01 trains a hundredth",
                default_help="1",
            ),
            Option(
                name="data",
                takes=FOLDER,
                help="folder of token shards, or sotu, the embedded corpus",
                default_help=_THE_STUDYS,
            ),
            Option(
                name="hellaswag",
                takes=FILE,
                help="HellaSwag's JSONL file, short for --task hellaswag=FILE",
            ),
            Option(
                name="task",
                takes=ValueType(metavar="NAME=FILE", read=_read_task, names=tuple(f"{name}=" for name in TASKS)),
                help=f"a task and the file of its examples, scored along the run and at the marks; may be given "
                f"more than once. Tasks: {', '.join(TASKS)}",
                repeats=True,
            ),
        ),
    ),
    OptionGroup(
        title="Training steps",
        options=(
            replace(LR_OPTION, default_help="the study's, or that of --model"),
            replace(RATE_OPTION, default_help=_THE_STUDYS),
            SPIKE_OPTION,
            replace(PRECISION_OPTION, default_help=_THE_STUDYS),
            MOMENT_PRECISION_OPTION,
            replace(COMPILE_OPTION, default_help=_THE_STUDYS),
        ),
    ),
)

COMMAND = Command(
    name="study",
    about="Run or continue a study: train its arms, judge them at equal compute, draw the report. "
    "The same command continues what was interrupted, and adds what is new, such as more seeds.",
    argument=Argument(
        metavar="NAME",
        help=f"{', '.join(STUDIES)}, or a Python file that assigns a `deepen.Study` to `study`",
        suggested=tuple(STUDIES),
        completion=Completion.FILES,
    ),
    groups=(
        *STUDY_GROUPS,
        OptionGroup(title="Where segments are trained", options=(EXECUTOR_OPTION, JOBS_OPTION, SHARD_OPTION)),
        OptionGroup(
            title="Results",
            options=(
                OUT_OPTION,
                KEEP_OPTION,
                VERIFY_OPTION,
                replace(JSON_OPTION, help="print the verdicts as JSON"),
            ),
        ),
    ),
    examples=(
        Example(line="deepen study quickstart", purpose="the paper's comparison in minutes on two CPU cores"),
        Example(line="deepen study quickstart --seeds 4", purpose="more seeds, beside those that are there"),
        Example(
            line="deepen study paper --data sotu --model nano --scale 6e-6 --jobs 1",
            purpose="the paper's protocol on a small model, scaled down to seconds",
        ),
    ),
)


def parse(argv: Sequence[str], *, distributed: bool = False) -> RunRequest:
    """Parse the command line.

    Args:
        distributed: whether several processes train together.
    """
    arguments = parse_arguments(COMMAND, argv)
    study = parse_study(arguments)
    if arguments.argument == "paper" and "data" not in arguments:
        arguments.add(
            "--data is missing: paper trains on prepared FineWeb-edu shards (llm.c format); name their folder, "
            "or sotu for a try with --scale and --model"
        )
    if study and "out" not in arguments and Path(study.name).name != study.name:
        arguments.add(f"study name {study.name!r} cannot name a folder: leave out /, or give --out")
    executor = parse_executor(arguments)
    check_shard(arguments, distributed=distributed)
    if distributed:
        for key in arguments.given(["executor", "jobs"]):
            arguments.add(f"--{key}: under torchrun all processes train one segment at a time; leave it out")
    arguments.check()
    assert study is not None
    return RunRequest(
        command=COMMAND,
        study=study,
        folder=arguments.get("out", Path(RUNS_FOLDER) / study.name),
        executor=local(1) if distributed else executor,
        keep=arguments["keep"],
        verify="verify" in arguments,
        shard="shard" in arguments,
        as_json="json" in arguments,
    )


def parse_study(arguments: Arguments) -> Study | None:
    """The study that a command line names, with its changes; None where there are problems with it."""
    name = arguments.argument
    if name.endswith(".py"):
        study = arguments.attempt(lambda: _read_file(Path(name)))
        return None if study is None else _customise(arguments, study, arguments.values)
    if name not in STUDIES:
        if name:
            near = nearest(name, STUDIES)
            arguments.add(f"study {name!r} is unknown{near}: use {', '.join(STUDIES)}, or a .py file")
        return None
    make = STUDIES[name]
    own = arguments.given([*inspect.signature(make).parameters])
    changes = {key: value for key, value in arguments.values.items() if key not in own}
    study = arguments.attempt(lambda: make(**own))
    return None if study is None else _customise(arguments, study, changes)


def _read_file(path: Path) -> Study:
    if not path.is_file():
        raise ValueError(f"study file {path} does not exist")
    try:
        study = runpy.run_path(str(path)).get("study")
    except (Exception, SystemExit) as error:
        raise ValueError(f"study file {path} failed: {type(error).__name__}: {error}") from None
    if not isinstance(study, Study):
        raise ValueError(f"study file {path} defines no `study`: it must assign a deepen.Study to that name")
    return study


def _customise(arguments: Arguments, study: Study, changes: dict[str, Any]) -> Study | None:
    """The study with what a command line changes of it."""
    if "preset" in changes:
        arguments.add(f"--preset: study {arguments.argument} has no presets; paper has some")
    if "tokens" in arguments and "scale" in arguments:
        arguments.add("--tokens and --scale both set the budget: give one of them")

    def change() -> Study:
        changed = _with_model(study, PRESETS[changes["model"]]) if "model" in changes else study
        tokens = changes.get("tokens", round(study.tokens * changes.get("scale", 1.0)))
        share = tokens / study.tokens
        evaluation = _scale_evaluation(study.evaluation, share, changed.batch_tokens)
        tasks = _given_tasks(changes)
        return replace(
            changed,
            tokens=tokens,
            rate=_change_rate(changed.rate, changes, share),
            evaluation=_with_tasks(evaluation, tasks) if tasks else evaluation,
            seeds=tuple(range(changes["seeds"])) if "seeds" in changes else study.seeds,
            data=str(changes.get("data", study.data)),
            settings=parse_settings(arguments, study.settings),
        )

    return arguments.attempt(change)


def _with_model(study: Study, model: ModelConfig) -> Study:
    """The study on another model, with as much context as the model has, and the model's own peak rate."""
    context = min(study.context, model.context)
    return replace(
        study,
        model=model,
        context=context,
        batch_tokens=max(1, round_to_steps(study.batch_tokens, context)) * context,
        rate=replace(study.rate, peak=PEAK_RATES[model.name]),  # type: ignore[type-var]
    )


def _change_rate(rate: Rate, changes: dict[str, Any], share: float) -> Rate:
    """The rate of a run with `share` as many tokens, in the shape and with the peak that are asked for."""
    if "rate" in changes:
        rate = RATES[changes["rate"]](peak=rate.peak, warmup_tokens=rate.warmup_tokens)
    changed: Rate = replace(  # type: ignore[type-var]
        rate, peak=changes.get("lr", rate.peak), warmup_tokens=round(rate.warmup_tokens * share)
    )
    return changed


def _scale_evaluation(evaluation: Evaluation, share: float, batch_tokens: int) -> Evaluation:
    """The evaluations of a run with `share` as many tokens, at as many points."""

    def in_steps(tokens: int) -> int:
        return max(1, round_to_steps(tokens * share, batch_tokens)) * batch_tokens

    tasks_every = evaluation.tasks_every_tokens
    return replace(
        evaluation,
        every_tokens=in_steps(evaluation.every_tokens),
        tasks_every_tokens=in_steps(tasks_every) if tasks_every else 0,
    )


def _given_tasks(changes: dict[str, Any]) -> tuple[TaskFile, ...]:
    """The tasks that are asked for, in either way."""
    tasks: tuple[TaskFile, ...] = changes.get("task", ())
    if "hellaswag" in changes:
        return (TaskFile(task="hellaswag", path=changes["hellaswag"]), *tasks)
    return tasks


def _with_tasks(evaluation: Evaluation, tasks: tuple[TaskFile, ...]) -> Evaluation:
    """The evaluations with these tasks; those of the study that are not named again stay."""
    named = {task.task for task in tasks}
    kept = tuple(task for task in evaluation.tasks if task.task not in named)
    every = evaluation.tasks_every_tokens or evaluation.every_tokens
    return replace(evaluation, tasks=(*kept, *tasks), tasks_every_tokens=every)
