"""`deepen study NAME`: run or continue a study, judge it, draw it."""

import json
import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepen.cli.output.verdict_table import print_results
from deepen.cli.requests.executor import EXECUTOR_OPTION, JOBS_OPTION, executor_of
from deepen.cli.requests.options import (
    Option,
    Request,
    choice,
    nearest,
    number,
    path_of,
    read_request,
    text_of,
    whole,
)
from deepen.cli.requests.shared import (
    OUT_OPTION,
    RUNS,
    SHARD_OPTION,
    SPIKE_OPTION,
    STEP_OPTIONS,
    STORE_OPTIONS,
    check_shard,
    settings_of,
)
from deepen.model.config import ModelConfig
from deepen.model.presets import PEAK_RATES, PRESETS
from deepen.schedule.grid import round_to_steps
from deepen.schedule.rate import RATES
from deepen.schedule.recipes.stages import TWO_PHASE_PRESETS
from deepen.study.define.executor import local
from deepen.study.define.presets import STUDIES
from deepen.study.define.study import Evaluation, Study, TaskFile

if TYPE_CHECKING:
    from deepen.train.distributed.processes import World

OPTIONS = (
    OUT_OPTION,
    Option(name="seeds", read=whole(1, 1000), help="number of seeds"),
    Option(name="model", read=choice(PRESETS), help=f"another model: {', '.join(PRESETS)}"),
    Option(name="tokens", read=whole(1), help="the baseline's tokens"),
    Option(name="scale", read=number(0, 1000), help="fewer tokens, same shape: 0.01 trains a hundredth"),
    Option(name="data", read=text_of, help="folder of token shards; sotu is the embedded corpus"),
    Option(name="lr", read=number(0), help="peak learning rate"),
    Option(name="rate", read=choice(RATES), help=f"shape of the learning rate: {', '.join(RATES)}"),
    Option(name="preset", read=choice(TWO_PHASE_PRESETS), help=f"of paper: {', '.join(TWO_PHASE_PRESETS)}"),
    Option(name="hellaswag", read=path_of, help="HellaSwag JSONL file, evaluated along the run and at the marks"),
    EXECUTOR_OPTION,
    JOBS_OPTION,
    SPIKE_OPTION,
    *STEP_OPTIONS,
    SHARD_OPTION,
    *STORE_OPTIONS,
    Option(name="json", read=None, help="print the verdicts as JSON"),
)


def run(argv: Sequence[str], world: "World | None" = None) -> int:
    """Run the command."""
    request = read_request(
        "study",
        argv,
        OPTIONS,
        what="NAME",
        about="Run or continue a study: quickstart, paper, or a Python file.",
    )
    study = study_of(request)
    if request.name == "paper" and "data" not in request.values:
        request.problems.append(
            "--data is missing: paper trains on prepared FineWeb-edu shards (llm.c format); name their folder, "
            "or sotu for a try with --scale and --model"
        )
    if study and "out" not in request.values and Path(study.name).name != study.name:
        request.problems.append(f"study name {study.name!r} is no name of a folder: leave out /, or give --out")
    executor = executor_of(request)
    check_shard(request, world)
    for option in ("executor", "jobs"):
        if world is not None and option in request.values:
            request.problems.append(
                f"--{option}: under torchrun all processes train the same segment, one after another; leave it out"
            )
    request.check()
    assert study is not None
    from deepen.cli.running import run_study  # torch takes seconds to import: only for a request that is right

    out = request.get("out", Path(RUNS) / study.name)
    results = run_study(
        study,
        out,
        executor if world is None else local(1),
        keep=request.get("keep", "last"),
        verify=request.get("verify", False),
        shard=request.get("shard", False),
        world=world,
    )
    if request.get("json"):
        print(json.dumps([verdict.to_json() for verdict in results.verdicts], indent=1))
    else:
        print_results(results, out)
    return 0


def study_of(request: Request) -> Study | None:
    """The study a request names, with its changes; problems are added to the request."""
    name, values = request.name, request.values
    if name.endswith(".py"):
        return _customised(request, request.attempt(lambda: _from_file(Path(name))))
    if name not in STUDIES:
        if name:
            names = ", ".join(STUDIES)
            request.problems.append(
                f"study {name!r} is unknown{nearest(name, STUDIES)}: use {names}, or a .py file"
            )
        return None
    if name == "paper":
        own = {key: values[key] for key in ("preset", "rate", "scale") if key in values}
        study = STUDIES["paper"](**own)
        return _customised(request, study, done=tuple(own))
    return _customised(request, STUDIES[name]())


def _from_file(path: Path) -> Study:
    if not path.is_file():
        raise ValueError(f"study file {path} does not exist")
    try:
        study = runpy.run_path(str(path)).get("study")
    except (Exception, SystemExit) as error:
        raise ValueError(f"study file {path} failed: {type(error).__name__}: {error}") from None
    if not isinstance(study, Study):
        raise ValueError(f"study file {path} defines no `study`: it must assign a deepen.Study to that name")
    return study


def _customised(request: Request, study: Study | None, done: tuple[str, ...] = ()) -> Study | None:
    """The study with what the request changes."""
    if study is None:
        return None
    values = {key: value for key, value in request.values.items() if key not in done}
    if "preset" in values:
        request.problems.append(
            f"--preset: study {request.name} has none; paper has {', '.join(TWO_PHASE_PRESETS)}"
        )
    if "tokens" in values and "scale" in request.values:
        request.problems.append("--tokens and --scale both set the budget: give one of them")
    base: Study = study

    def changed() -> Study:
        on_model = _on_model(base, PRESETS[values["model"]]) if "model" in values else base
        lr = on_model.rate
        if "rate" in values:
            lr = RATES[values["rate"]](peak=lr.peak, warmup_tokens=lr.warmup_tokens)
        tokens = values.get("tokens", round(base.tokens * values.get("scale", 1.0)))
        share, peak = tokens / base.tokens, values.get("lr", lr.peak)
        return replace(
            on_model,
            tokens=tokens,
            rate=replace(lr, peak=peak, warmup_tokens=round(lr.warmup_tokens * share)),  # type: ignore[type-var]
            evaluation=_spaced(base.evaluation, share, on_model.batch_tokens, values.get("hellaswag")),
            seeds=tuple(range(values["seeds"])) if "seeds" in values else base.seeds,
            data=values.get("data", base.data),
            settings=settings_of(request, base.settings),
        )

    made: Study | None = request.attempt(changed)
    return made


def _on_model(study: Study, model: ModelConfig) -> Study:
    """The study on another model: its context as far as the model goes, and the model's own peak rate."""
    context = min(study.context, model.context)
    return replace(
        study,
        model=model,
        context=context,
        batch_tokens=max(1, round_to_steps(study.batch_tokens, context)) * context,
        rate=replace(study.rate, peak=PEAK_RATES[model.name]),  # type: ignore[type-var]
    )


def _spaced(evaluation: Evaluation, share: float, batch_tokens: int, hellaswag: Path | None) -> Evaluation:
    """The evaluations of a study that trains `share` as many tokens, at as many points."""

    def in_steps(tokens: float) -> int:
        return max(1, round_to_steps(tokens, batch_tokens)) * batch_tokens

    every = in_steps(evaluation.every_tokens * share)
    task_every = in_steps(evaluation.tasks_every_tokens * share) if evaluation.tasks_every_tokens else 0
    if hellaswag is None:
        return replace(evaluation, every_tokens=every, tasks_every_tokens=task_every)
    tasks = (TaskFile(task="hellaswag", path=hellaswag),)
    return replace(evaluation, every_tokens=every, tasks=tasks, tasks_every_tokens=task_every or every)
