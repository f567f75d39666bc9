"""`deepen study NAME`: a study by name or from a Python file, with what the command line changes of it."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Command
from deepen.cli.requests.command_line import describe_command_line
from deepen.cli.requests.executor import parse_executor
from deepen.cli.requests.model_options import parse_model
from deepen.cli.requests.parser import Arguments, parse_arguments
from deepen.cli.requests.result_options import parse_folder
from deepen.cli.requests.run_request import RunRequest
from deepen.cli.requests.study_changes import change_study
from deepen.cli.requests.study_options import STUDY
from deepen.cli.requests.training_options import check_shard
from deepen.cli.requests.user_file import names_file, read_study
from deepen.errors import nearest
from deepen.study.define.executor import local
from deepen.study.define.presets import STUDIES
from deepen.study.define.study import Study

COMMAND = STUDY

_NEED_DATA = {"paper": "prepared FineWeb-edu shards (llm.c format)"}
"""Studies that do not train on the embedded corpus, and what they train on."""


@dataclass(frozen=True, slots=True)
class StudyListRequest:
    """A command line that names no study: which studies are there?"""

    command: ClassVar[Command] = COMMAND


def parse(argv: Sequence[str], *, distributed: bool = False) -> RunRequest | StudyListRequest:
    """Parse the command line.

    Args:
        distributed: whether several processes train together.
    """
    if not argv:
        return StudyListRequest()
    arguments = parse_arguments(COMMAND, argv)
    study = parse_study(arguments)
    if arguments.argument in _NEED_DATA and "data" not in arguments:
        data = _NEED_DATA[arguments.argument]
        arguments.add(
            f"--data is missing: {arguments.argument} trains on {data}; name their folder, "
            "or sotu for a try with --scale and --model"
        )
    folder = None if study is None else parse_folder(arguments, study.name)
    executor = parse_executor(arguments)
    check_shard(arguments, distributed=distributed)
    if distributed:
        for key in arguments.given(["executor", "jobs"]):
            arguments.add(f"--{key}: under torchrun all processes train one segment at a time; leave it out")
    arguments.check()
    assert study is not None and folder is not None
    return RunRequest(
        command=COMMAND,
        command_line=describe_command_line("study", argv),
        study=study,
        folder=folder,
        executor=local(1) if distributed else executor,
        threads=arguments.values.get("threads"),
        keep=arguments["keep"],
        verify="verify" in arguments,
        shard="shard" in arguments,
        track=arguments.get("track", ()),
        as_json="json" in arguments,
    )


def parse_study(arguments: Arguments) -> Study | None:
    """The study that a command line names, with its changes; None where there are problems with it."""
    name = arguments.argument
    if names_file(name):
        study = arguments.attempt(lambda: read_study(Path(name)))
        return None if study is None else change_study(arguments, study, arguments.values)
    if name not in STUDIES:
        if name:
            near = nearest(name, STUDIES)
            arguments.add(f"study {name!r} is unknown{near}: use {', '.join(STUDIES)}, or a .py file")
        return None
    make = STUDIES[name]
    parameters = inspect.signature(make).parameters
    own = arguments.given([*parameters])
    changes = {key: value for key, value in arguments.values.items() if key not in own}
    if "model" in parameters:
        own["model"] = parse_model(arguments, parameters["model"].default)
    study = arguments.attempt(lambda: make(**own))
    return None if study is None else change_study(arguments, study, changes)
