"""`deepen train RECIPE`: one arm as a study of its own, or two where it is compared with a baseline."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deepen.cli.requests.budget_options import (
    parse_batch_tokens,
    parse_context,
    parse_tokens,
)
from deepen.cli.requests.checkpoint_options import parse_start
from deepen.cli.requests.command_line import describe_command_line
from deepen.cli.requests.model_options import MODEL_OPTION, SIZE_OPTIONS, describe_sizes, parse_model
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.ramp_options import add_ramps, check_ramps
from deepen.cli.requests.rate_options import change_rate, set_peaks
from deepen.cli.requests.recipe_options import parse_arm, parse_recipe
from deepen.cli.requests.result_options import (
    parse_folder,
)
from deepen.cli.requests.run_request import RunRequest
from deepen.cli.requests.task_options import add_tasks, given_tasks
from deepen.cli.requests.train_options import TOKENS_PER_PARAMETER, TRAIN
from deepen.cli.requests.training_options import (
    check_shard,
    parse_settings,
)
from deepen.compute.accounting import EXACT_FLOPS, TOKENS
from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.model.presets import peak_rate, tokens_per_step
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.recipe import Recipe
from deepen.schedule.recipes import BASELINE, get_recipe
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.executor import ExecutorChoice, local
from deepen.study.define.presets import WARMUP_SHARE, preset_training
from deepen.study.define.start import Start
from deepen.study.define.study import Arm, Study
from deepen.train.settings import TrainSettings

COMMAND = TRAIN

_VALIDATION_TOKENS = 32_768
_CURVE_POINTS = 20


def parse(argv: Sequence[str], *, distributed: bool = False) -> RunRequest:
    """Parse the command line.

    Args:
        distributed: whether several processes train together.
    """
    arguments, recipe = parse_recipe(COMMAND, argv)
    checkpoint = parse_start(arguments)
    start = None if checkpoint is None else arguments.attempt(lambda: Start.at(checkpoint))
    if start is None:
        model = parse_model(arguments)
        if "from" not in arguments and recipe is not None and recipe.needs_checkpoint:
            arguments.add(f"recipe {recipe.name} continues a trained model: name its folder with --from")
    else:
        assert checkpoint is not None
        model = _continue_model(arguments, checkpoint.model, recipe)
    arm = parse_arm(arguments, model, recipe, start_depth=None if start is None else start.depth)
    study = arguments.attempt(lambda: _make_study(arguments, model, arm, start))
    folder = None
    if study is not None:
        sizes = describe_sizes(arguments, model) if start is None else _describe_start(arguments)
        folder = parse_folder(arguments, _folder_name(study, sizes))
    check_ramps(arguments)
    check_shard(arguments, distributed=distributed)
    arguments.check()
    assert study is not None and folder is not None
    return RunRequest(
        command=arguments.command,
        command_line=describe_command_line("train", argv),
        study=study,
        folder=folder,
        executor=local(1) if distributed or study.runs == 1 else ExecutorChoice(),
        threads=arguments.values.get("threads"),
        keep=arguments["keep"],
        verify="verify" in arguments,
        shard=arguments.get("shard", default=False),
        track=arguments.get("track", ()),
        as_json="json" in arguments,
    )


def _continue_model(arguments: Arguments, model: ModelConfig, recipe: Recipe | None) -> ModelConfig:
    """The model that continues a checkpoint's: its depth and its context may change, nothing else."""
    fixed = [option.flag for option in (MODEL_OPTION, *SIZE_OPTIONS) if option.key in arguments]
    for flag in (flag for flag in fixed if flag != "--depth"):
        arguments.add(f"{flag} and --from both describe the model: leave {flag} out")
    depth = arguments.get("depth", model.depth)
    if recipe is not None and "start_depth" in recipe.options and depth <= model.depth:
        given = f"is {depth}" if "depth" in arguments else "is missing"
        has = f"the checkpoint has {model.depth} blocks"
        arguments.add(f"--depth {given}: {has}, and recipe {recipe.name} needs more")
        depth = model.depth + 1  # so that the rest can be checked
    context = model.context
    if not FAMILIES[model.family].has_position_table:
        context = max(context, arguments.get("context", context))
    return replace(model, depth=depth, context=context)


def _describe_start(arguments: Arguments) -> str:
    """A checkpoint and the depth that a command line asks for, for the name of a folder: from-gpt2-depth-16."""
    chosen = arguments.given(("from_arm", "from_seed", "depth"))
    parts = [f"-{key.removeprefix('from_')}-{value}" for key, value in chosen.items()]
    return f"from-{arguments['from'].resolve().name}{''.join(parts)}"


def _make_study(arguments: Arguments, model: ModelConfig, arm: Arm, start: Start | None) -> Study:
    context = parse_context(arguments, model.context)
    batch_tokens = parse_batch_tokens(arguments, tokens_per_step(model, context))
    tokens = parse_tokens(arguments, batch_tokens, TOKENS_PER_PARAMETER * model.parameters_non_embedding)
    rate, settings = _parse_training(arguments, model, tokens)
    comparison = _parse_comparison(arguments, arm)
    comparison["arms"] = set_peaks(comparison["arms"], arguments["lr"] or ())
    return Study(
        model=model,
        tokens=tokens,
        batch_tokens=batch_tokens,
        context=context,
        evaluation=add_tasks(
            Evaluation(
                every_tokens=max(1, tokens // batch_tokens // _CURVE_POINTS) * batch_tokens,
                validation_tokens=_VALIDATION_TOKENS,
            ),
            given_tasks(arguments.values),
        ),
        seeds=tuple(range(arguments["seed"], arguments["seed"] + arguments["seeds"])),
        rate=rate,
        settings=parse_settings(arguments, settings),
        data=str(arguments["data"]),
        data_dtype=arguments.get("data_dtype", None),
        tokenizer=arguments.get("tokenizer", ""),
        start=start,
        **comparison,
    )


def _parse_comparison(arguments: Arguments, arm: Arm) -> dict[str, Any]:
    """The fields of the study that depend on whether the arm is compared with another recipe."""
    ramped = add_ramps(arguments, arm)
    if "against" not in arguments:
        return {
            "name": f"train {ramped.name}",
            "arms": (ramped,),
            "baseline": ramped.name,
            "anchors": (1.0,),
            "accountings": (EXACT_FLOPS,),
        }
    recipe = get_recipe(arguments["against"])
    has_options = recipe is not BASELINE  # which always trains everything
    shared = {name: value for name, value in arm.options.items() if has_options and name in recipe.options}
    baseline = Arm(name=recipe.name_run(shared), recipe=recipe.build, options=shared)
    if ramped.name == baseline.name:
        raise InvalidValueError(f"is {arm.name}, the recipe itself", field="against", remedy="name another recipe")
    arms = {each.name: each for each in (baseline, add_ramps(arguments, baseline), ramped)}
    return {
        "name": f"{ramped.name} against {baseline.name}",
        "arms": tuple(arms.values()),
        "baseline": baseline.name,
        "accountings": (EXACT_FLOPS, TOKENS),
    }


def _parse_training(arguments: Arguments, model: ModelConfig, tokens: int) -> tuple[Rate, TrainSettings]:
    """Rate and settings: those of the recipe's preset where one is named, else WSD with a short warm-up."""
    rate: Rate = WSD(warmup_tokens=round(WARMUP_SHARE * tokens))
    settings = TrainSettings()
    if "preset" in arguments:
        rate, settings = preset_training(arguments["preset"], tokens)
    rate = replace(rate, peak=peak_rate(model))  # type: ignore[type-var]
    return change_rate(rate, arguments.values), settings


def _folder_name(study: Study, sizes: str) -> str:
    """A folder of its own for each recipe, its options and baseline, model, its sizes and first seed."""
    arm = study.arms[-1]
    given = {key: value for key, value in arm.options.items() if study.start is None or key != "start_depth"}
    given |= {key: ramp for key in ("batch_ramp", "context_ramp") if (ramp := getattr(arm, key)) is not None}
    options = "".join(f"-{key.replace('_', '-')}-{value}" for key, value in given.items())
    baseline = get_recipe(study.arms[0].recipe).name
    against = f"-against-{baseline}" if study.baseline != arm.name else ""
    return f"{get_recipe(arm.recipe).name}{options.replace(':', '-')}{against}-{sizes}-seed-{study.seeds[0]}"
