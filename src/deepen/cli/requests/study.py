"""`deepen study NAME`: a study by name or from a Python file, with what the command line changes of it."""

import inspect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Command, as_flag
from deepen.cli.requests.command_line import describe_command_line
from deepen.cli.requests.executor import parse_executor
from deepen.cli.requests.map_options import MAP, SET_BY_MODELS
from deepen.cli.requests.model_options import parse_model
from deepen.cli.requests.parser import Arguments, parse_arguments
from deepen.cli.requests.result_options import parse_folder
from deepen.cli.requests.run_request import MapRequest, RunRequest
from deepen.cli.requests.study_changes import change_study
from deepen.cli.requests.study_options import STUDY, STUDY_NAMES
from deepen.cli.requests.training_options import check_shard
from deepen.cli.requests.user_file import names_file, read_study
from deepen.errors import nearest
from deepen.study.define.executor import local
from deepen.study.define.presets import STUDIES
from deepen.study.define.recorded import read_recorded_study
from deepen.study.define.study import Study
from deepen.study.map.define import DEFAULT_MODELS, MAP_RECIPES, TRIAL_SHARE, study_in_map
from deepen.study.map.plan import check_map

COMMAND = STUDY

_NEED_DATA = {"paper": "prepared FineWeb-edu shards (llm.c format)"}
"""Studies that do not train on the embedded corpus, and what they train on."""


@dataclass(frozen=True, slots=True)
class StudyListRequest:
    """A command line that names no study: which studies are there?"""

    command: ClassVar[Command] = COMMAND


def parse(argv: Sequence[str], *, distributed: bool = False) -> RunRequest | MapRequest | StudyListRequest:
    """Parse the command line.

    Args:
        distributed: whether several processes train together.
    """
    if not argv:
        return StudyListRequest()
    arguments = parse_arguments(COMMAND, argv)
    studies = parse_studies(arguments)
    if arguments.argument in _NEED_DATA and "data" not in arguments:
        data = _NEED_DATA[arguments.argument]
        arguments.add(
            f"--data is missing: {arguments.argument} trains on {data}; name their folder, "
            "or sotu for a try with --scale and --model"
        )
    is_map = arguments.argument == MAP
    folder = parse_folder(arguments, MAP if is_map else studies[0].name) if studies else None
    executor = parse_executor(arguments)
    check_shard(arguments, distributed=distributed)
    if distributed:
        for key in arguments.given(["executor", "jobs"]):
            arguments.add(f"--{key}: under torchrun all processes train one segment at a time; leave it out")
        if is_map:
            arguments.add("a map is run without torchrun: run its studies one by one, with deepen study fair")
    if is_map and studies and folder is not None:
        arguments.attempt(lambda: check_map(studies, folder))
    arguments.check()
    assert studies and folder is not None
    request = RunRequest(
        command=COMMAND,
        command_line=describe_command_line("study", argv),
        study=studies[0],
        folder=folder,
        executor=local(1) if distributed else executor,
        threads=arguments.values.get("threads"),
        keep=arguments["keep"],
        verify="verify" in arguments,
        shard="shard" in arguments,
        track=arguments.get("track", ()),
        as_json="json" in arguments,
    )
    return MapRequest.from_run(request, studies) if is_map else request


def names_study_folder(text: str) -> bool:
    """Whether a word names the folder of a study."""
    return bool(text) and text not in STUDY_NAMES and (Path(text) / "study.json").is_file()


def parse_studies(arguments: Arguments, *, or_folder: bool = False) -> tuple[Study, ...]:
    """The study that a command line names, or those of its map; none where there are problems with it.

    Args:
        arguments: the command line.
        or_folder: whether it may name the folder of a study.
    """
    if arguments.argument == MAP:
        return _parse_map(arguments)
    if or_folder and names_study_folder(arguments.argument):
        recorded = arguments.attempt(lambda: read_recorded_study(Path(arguments.argument)))
        changed = None if recorded is None else change_study(arguments, recorded, arguments.values)
        return () if changed is None else (changed,)
    study = parse_study(arguments, arguments.argument)
    return () if study is None else (study,)


def _parse_map(arguments: Arguments) -> tuple[Study, ...]:
    """A study like `fair` for each model of a map."""
    for key in arguments.given(SET_BY_MODELS):
        instead = "--budgets" if key == "tokens" else "--models"
        arguments.add(f"{as_flag(key)}: a map has several models; use {instead}")
    own = {key: value for key, value in arguments.values.items() if key not in ("models", *SET_BY_MODELS)}
    models = arguments.get("models", DEFAULT_MODELS)
    studies, problems = [], defaultdict[str, list[str]](list)
    for model in models:
        asked = replace(arguments, values={"recipes": MAP_RECIPES, **own, "model": model}, problems=[])
        study = parse_study(asked, "fair")
        if study is not None:
            named = replace(study, model=replace(study.model, name=model.name))
            studies.append(study_in_map(named, trial_share=None if "tune_share" in arguments else TRIAL_SHARE))
        for problem in asked.problems:
            problems[problem].append(model.name)
    for problem, names in problems.items():
        arguments.add(problem if len(names) == len(models) else f"{', '.join(names)}: {problem}")
    return tuple(studies)


def parse_study(arguments: Arguments, name: str) -> Study | None:
    """A study by name or from a file, with what a command line changes; None where there are problems with it."""
    if names_file(name):
        study = arguments.attempt(lambda: read_study(Path(name)))
        return None if study is None else change_study(arguments, study, arguments.values)
    if name not in STUDIES:
        if name:
            near = nearest(name, STUDY_NAMES)
            arguments.add(f"study {name!r} is unknown{near}: use {', '.join(STUDY_NAMES)}, or a .py file")
        return None
    make = STUDIES[name]
    parameters = inspect.signature(make).parameters
    own = arguments.given([*parameters])
    changes = {key: value for key, value in arguments.values.items() if key not in own}
    if "model" in parameters:
        own["model"] = parse_model(arguments, parameters["model"].default)
    study = arguments.attempt(lambda: make(**own))
    return None if study is None else change_study(arguments, study, changes)
