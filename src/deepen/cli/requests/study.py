"""`deepen study NAME`: a study by name or from a Python file, with what the command line changes of it."""

import inspect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

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
from deepen.study.compile.study_cost import max_tokens
from deepen.study.compile.tree import compile_study
from deepen.study.define.executor import local
from deepen.study.define.fair_presets import FAIR_PRESETS, find_fair_preset
from deepen.study.define.presets import STUDIES
from deepen.study.define.recorded import read_recorded_study
from deepen.study.define.study import Study
from deepen.study.map.define import (
    DEFAULT_MODELS,
    MAP_BUDGETS,
    MAP_RECIPES,
    TRIAL_SHARE,
    find_map_preset,
    preset_for,
    study_in_map,
)
from deepen.study.map.plan import check_map

COMMAND = STUDY

_NEED_DATA = {"paper": "prepared FineWeb-edu shards (llm.c format)"}
"""Studies that do not train on the embedded corpus, and what they train on."""

_EMBEDDED_TOKENS = 2.4e6
"""Training tokens of the embedded corpus with a vocabulary of 8,192, that of the presets for a GPU."""


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
    if preset_minutes(arguments) and studies and "data" not in arguments:
        arguments.add(_describe_missing_data(studies))
    is_map = arguments.argument == MAP
    folder = parse_folder(arguments, name_folder(arguments, studies)) if studies else None
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
        shard=arguments.get("shard", default=False),
        track=arguments.get("track", ()),
        as_json="json" in arguments,
    )
    return MapRequest.from_run(request, studies) if is_map else request


def _describe_missing_data(studies: Sequence[Study]) -> str:
    tokens = max_tokens(compile_study(study, data_fingerprint="") for study in studies)
    return (
        f"--data is missing: the longest run reads {tokens:,} tokens, {tokens / _EMBEDDED_TOKENS:,.0f} epochs "
        "of the embedded corpus; name a folder of shards, which deepen data prepare makes, or sotu for a try"
    )


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
    by_model = ("models", "preset", *SET_BY_MODELS)
    own = {key: value for key, value in arguments.values.items() if key not in by_model}
    values = arguments.attempt(lambda: _map_values(arguments))
    if values is None:
        return ()
    keeps_share = "tune_share" in arguments or "preset" in arguments
    studies, problems = [], defaultdict[str, list[str]](list)
    for each in values:
        asked, name = replace(arguments, values={**each, **own}, problems=[]), each["model"].name
        study = parse_study(asked, "fair")
        if study is not None:
            named = replace(study, model=replace(study.model, name=name))
            studies.append(study_in_map(named, trial_share=None if keeps_share else TRIAL_SHARE))
        for problem in asked.problems:
            problems[problem].append(name)
    for problem, names in problems.items():
        arguments.add(problem if len(names) == len(values) else f"{', '.join(names)}: {problem}")
    return tuple(studies)


def _map_values(arguments: Arguments) -> list[dict[str, Any]]:
    """What `fair` is given for each model of a map, where the command line does not give it."""
    models = arguments.values.get("models")
    if "preset" not in arguments:
        shared = {"recipes": MAP_RECIPES, "budgets": MAP_BUDGETS}
        return [{**shared, "model": model} for model in models or DEFAULT_MODELS]
    presets = find_map_preset(arguments["preset"])
    chosen = presets if models is None else [preset_for(model, presets) for model in models]
    return [{"model": preset.model, "preset": preset} for preset in chosen]


def name_folder(arguments: Arguments, studies: Sequence[Study]) -> str:
    """The name of the folder that a command line leaves open; each preset for a GPU has its own."""
    name = studies[0].name if studies else ""
    if arguments.argument == MAP:
        name = MAP
    return f"{name}-{arguments['preset']}" if preset_minutes(arguments) else name


def preset_minutes(arguments: Arguments) -> float:
    """The time on one H100 for which the preset of `fair` or of a map is made; 0 if there is no such preset."""
    name = arguments.get("preset", "")
    return FAIR_PRESETS[name].minutes if name in FAIR_PRESETS else 0.0


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
        preset = arguments.attempt(lambda: find_fair_preset(own.get("preset", "")))
        if preset is None:
            return None
        own |= {"model": parse_model(arguments, preset.model), "preset": preset}
    study = arguments.attempt(lambda: make(**own))
    return None if study is None else change_study(arguments, study, changes)
