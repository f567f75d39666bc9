"""`deepen plan RECIPE` and `deepen plan STUDY`: what training would cost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.budget_options import parse_batch_tokens, parse_context
from deepen.cli.requests.command import Command, as_flag
from deepen.cli.requests.map_options import MAP
from deepen.cli.requests.model_options import parse_model
from deepen.cli.requests.optimizer_options import parse_optimizer
from deepen.cli.requests.parser import Arguments, first_argument, parse_arguments
from deepen.cli.requests.pilot import recipe_words
from deepen.cli.requests.plan_options import CPU, DEFAULT_STEPS, RECIPE_PLAN, STUDY_PLAN
from deepen.cli.requests.ramp_options import check_ramps
from deepen.cli.requests.rate_options import change_rate
from deepen.cli.requests.recipe_options import parse_arm, parse_recipe
from deepen.cli.requests.result_options import parse_folder
from deepen.cli.requests.study import name_folder, names_study_folder, parse_studies, preset_minutes
from deepen.cli.requests.study_options import STUDY_NAMES
from deepen.cli.requests.training_options import check_reduction, parse_reduction, wants_checkpointing
from deepen.cli.requests.user_file import names_file
from deepen.compute.bench_file import read_timing
from deepen.compute.devices import DEFAULT_MFU, DEVICES, DEVICES_PER_NODE
from deepen.compute.ledger import Ledger
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan_request import BUDGETS, PlanRequest
from deepen.compute.timing import Timing
from deepen.errors import join_or
from deepen.model.config import ModelConfig
from deepen.model.presets import tokens_per_step
from deepen.schedule.rate import WSD, Rate
from deepen.schedule.recipe import Recipe
from deepen.study.define.presets import WARMUP_SHARE, preset_training
from deepen.study.define.study import Arm, Study
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import WITHIN_NODE

COMMAND = RECIPE_PLAN
FORMS = (RECIPE_PLAN, STUDY_PLAN)
"""The tables, by what is planned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipePlanRequest:
    """A recipe to plan, and how to print the plan.

    Attributes:
        plan: what is planned.
        device: a device's name, `CPU`, or empty where there is none.
        mfu: share of the devices' peak that training achieves.
        timing: bench figures, where they give the seconds.
        may_checkpoint: use activation checkpointing if the plan does not fit into a GPU's memory otherwise.
        recipe_words: the words that name the recipe, its options, the rate, and the optimizer.
        figure: the file that gets the figure, if any.
    """

    command: ClassVar[Command] = RECIPE_PLAN
    plan: PlanRequest
    recipe_words: tuple[str, ...]
    device: str
    count: int
    mfu: float
    timing: Timing | None
    price_per_hour: float | None
    may_checkpoint: bool
    show_parts: bool
    show_trainable: bool
    figure: Path | None
    as_json: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlanRequest:
    """A study to plan; `map_studies` are those of a map, of which it is the first.

    `folder` is that of its results, from which its spreads are taken if it has run.
    `device`, `count` and `price_per_hour` are as in `RecipePlanRequest`; `mfu` is None where it is assumed by the
    width of each model. `preset` is the preset that is made for `minutes` on a GPU; empty, and 0, for none.
    """

    command: ClassVar[Command] = STUDY_PLAN
    study: Study
    folder: Path
    map_studies: tuple[Study, ...] = ()
    device: str
    count: int
    mfu: float | None
    price_per_hour: float | None
    as_json: bool
    preset: str = ""
    minutes: float = 0.0


def parse(argv: Sequence[str]) -> RecipePlanRequest | StudyPlanRequest:
    """Parse the command line; which options there are depends on what is planned."""
    first = first_argument(argv, (*RECIPE_PLAN.options, *STUDY_PLAN.options))
    if first in STUDY_NAMES or names_file(first) or names_study_folder(first):
        return _parse_study_plan(parse_arguments(STUDY_PLAN, argv))
    return _parse_recipe_plan(*parse_recipe(RECIPE_PLAN, argv))


def _parse_study_plan(arguments: Arguments) -> StudyPlanRequest:
    studies = parse_studies(arguments, or_folder=True)
    _check_device(arguments, ("mfu", "price_per_hour"))
    if names_study_folder(arguments.argument):
        folder = Path(arguments.get("out", arguments.argument))
    else:
        folder = parse_folder(arguments, name_folder(arguments, studies))
    arguments.check()
    assert studies
    return StudyPlanRequest(
        study=studies[0],
        folder=folder,
        map_studies=studies if arguments.argument == MAP else (),
        device=arguments.get("device", ""),
        count=arguments["count"],
        mfu=arguments.values.get("mfu"),
        price_per_hour=arguments["price_per_hour"],
        as_json="json" in arguments,
        preset=arguments.get("preset", ""),
        minutes=preset_minutes(arguments),
    )


def _parse_recipe_plan(arguments: Arguments, recipe: Recipe | None) -> RecipePlanRequest:
    model = parse_model(arguments)
    timing = _parse_timing(arguments, model)
    _check_combinations(arguments, recipe)
    plan = _parse_plan(arguments, parse_arm(arguments, model, recipe), model, timing)
    arguments.check()
    assert plan is not None
    return RecipePlanRequest(
        plan=plan,
        recipe_words=recipe_words(arguments, tuple(plan.options)),
        device=arguments.get("device", ""),
        count=arguments["count"],
        mfu=arguments.get("mfu", DEFAULT_MFU),
        timing=timing,
        price_per_hour=arguments["price_per_hour"],
        may_checkpoint="activation_checkpointing" not in arguments,
        show_parts="parts" in arguments,
        show_trainable="trainable" in arguments,
        figure=arguments["figure"],
        as_json="json" in arguments,
    )


def _parse_plan(arguments: Arguments, arm: Arm, model: ModelConfig, timing: Timing | None) -> PlanRequest | None:
    on_gpu = arguments.get("device", CPU) != CPU
    precision = arguments.get("precision", timing.precision if timing else "bf16" if on_gpu else "fp32")
    usual = OptimizerSpec.adamw()
    optimizer = parse_optimizer(arguments, usual.as_kind(timing.optimizer) if timing else usual).cost
    recomputes = wants_checkpointing(arguments)
    units = [unit for unit in BUDGETS if unit in arguments]
    unit = units[0] if units else "steps"
    return arguments.attempt(
        lambda: PlanRequest(
            model=model,
            recipe=arm.recipe,
            options=arm.options,
            budget=arguments.get(unit, DEFAULT_STEPS),
            budget_unit=unit,
            batch_tokens=_parse_batch_tokens(arguments, model, timing),
            context=parse_context(arguments, model.context),
            ledger=Ledger(
                model=model,
                causal_exact=arguments["attention"] == "causal-exact",
                activation_checkpointing=recomputes,
                optimizer=optimizer,
            ),
            memory=MemorySettings(
                precision=precision,
                optimizer=optimizer,
                micro_batch_tokens=arguments.get("micro_batch_tokens", 0),
                devices=arguments["count"],
                sharded="shard" in arguments,
                shard_group=_shard_group(arguments),
                activation_checkpointing=recomputes,
                reduce_once=parse_reduction(arguments),
                gpu=on_gpu,
                device_bytes=DEVICES[arguments["device"]].memory_bytes if on_gpu else 0,
            ),
            against=arguments["against"],
            ratio=arguments.get("ratio", 1.0),
            batch_ramp=arguments["batch_ramp"],
            context_ramp=arguments["context_ramp"],
            limit_hours=arguments["hours"] if len(units) > 1 else None,
            rate=_parse_rate(arguments),
        )
    )


def _shard_group(arguments: Arguments) -> int:
    """`MemorySettings.shard_group`: the devices of a machine if a model is divided inside each; else 0."""
    return min(DEVICES_PER_NODE, arguments["count"]) if arguments["shard"] == WITHIN_NODE else 0


def _parse_rate(arguments: Arguments) -> Rate:
    """The rate in shares of its peak, as `deepen train` takes it."""
    rate: Rate = WSD(warmup_share=WARMUP_SHARE)
    if "preset" in arguments:
        rate, _ = preset_training(arguments["preset"], tokens=0)
    return change_rate(replace(rate, peak=1.0), arguments.values)  # type: ignore[type-var]


def _parse_batch_tokens(arguments: Arguments, model: ModelConfig, timing: Timing | None) -> int:
    """Tokens of a step: those asked for, the bench's, or what models of the size take."""
    usual = timing.batch_tokens if timing else tokens_per_step(model, parse_context(arguments, model.context))
    return parse_batch_tokens(arguments, usual)


def _parse_timing(arguments: Arguments, model: ModelConfig) -> Timing | None:
    """The bench figures that are named, if they were measured on this model, context and batch."""
    if "bench" not in arguments:
        return None
    timing = arguments.attempt(lambda: read_timing(arguments["bench"]))
    if timing is None:
        return None
    context, batch = arguments.get("context", model.context), arguments.get("batch_tokens", timing.batch_tokens)
    arguments.attempt(lambda: timing.check(model, context, batch))
    if arguments.attempt(lambda: OptimizerSpec.adamw().as_kind(timing.optimizer)) is None:
        return None
    if arguments.get("precision", timing.precision) != timing.precision:
        arguments.add(f"--precision and --bench: its figures are of {timing.precision}; leave one out")
    if arguments.get("optimizer", timing.optimizer) != timing.optimizer:
        arguments.add(f"--optimizer and --bench: its figures are of {timing.optimizer}; leave one out")
    return timing


def _check_device(arguments: Arguments, keys: Sequence[str]) -> None:
    """Add a problem for each of these options that is given without a device."""
    if "device" not in arguments and "device" not in arguments.refused:
        for key in keys:
            if key in arguments:
                arguments.add(f"{as_flag(key)} needs a --device: use {join_or((*DEVICES, CPU))}")


def _check_combinations(arguments: Arguments, recipe: Recipe | None) -> None:
    """Add problems of options that exclude or need each other."""
    units = [as_flag(unit) for unit in BUDGETS if unit in arguments and unit != "hours"]  # which can be a limit
    if len(units) > 1:
        arguments.add(f"{' and '.join(units)} all set the budget: give one of them")
    if "bench" in arguments:
        _check_beside_bench(arguments)
    else:
        _check_device(arguments, ("mfu", "price_per_hour", "hours"))
    if arguments.get("device", CPU) != CPU and arguments.get("precision", "bf16") == "fp32":
        arguments.add(
            "--precision fp32 and --device: the table's peaks are of bf16; leave one out, or use --bench"
        )
    if "shard" in arguments and arguments["count"] < 2:
        arguments.add("--shard needs devices to share among: give --count of at least 2")
    elif arguments["count"] % max(1, _shard_group(arguments)):
        arguments.add(
            f"--shard node divides a model among the {DEVICES_PER_NODE} devices of each machine: "
            f"--count {arguments['count']} is not a multiple of {DEVICES_PER_NODE}"
        )
    check_reduction(arguments)
    if "ratio" in arguments and recipe is not None and recipe.closed_form is None:
        arguments.add(f"--ratio is of a recipe's published formula: {recipe.name} has none")
    check_ramps(arguments)


def _check_beside_bench(arguments: Arguments) -> None:
    """Add problems of options that do not go with bench figures."""
    for key in ("device", "mfu", "activation_checkpointing"):
        if key in arguments:
            arguments.add(f"{as_flag(key)} and --bench exclude each other: give one")
    for key in ("batch_ramp", "context_ramp"):
        if key in arguments:
            arguments.add(f"{as_flag(key)} and --bench: its figures are of one batch and context; use --device")
    if arguments["count"] > 1:
        arguments.add("--count and --bench: its figures are of one device; use --device and --mfu")
