"""`deepen plan RECIPE` and `deepen plan STUDY`: what training would cost."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup, flags
from deepen.cli.requests.model_options import MODEL_OPTION, SIZE_OPTIONS, parse_model
from deepen.cli.requests.parser import Arguments, first_argument, parse_arguments
from deepen.cli.requests.recipe_options import PRESET_OPTION, RECIPE_OPTIONS, parse_arm
from deepen.cli.requests.study import COMMAND as STUDY
from deepen.cli.requests.study import parse_study
from deepen.cli.requests.training_options import (
    BATCH_OPTION,
    CHECKPOINTING_OPTION,
    CONTEXT_OPTION,
    JSON_OPTION,
    MOMENT_PRECISION_OPTION,
    PRECISION_OPTION,
    STEPS_OPTION,
    TOKENS_OPTION,
)
from deepen.cli.requests.value_types import FILE, ValueType, number, one_of, whole_number
from deepen.compute.bench_file import read_timing
from deepen.compute.devices import DEFAULT_UTILISATION, DEVICES
from deepen.compute.ledger import Ledger
from deepen.compute.memory_settings import MemorySettings
from deepen.compute.plan_request import BUDGETS, PlanRequest
from deepen.compute.timing import Timing
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.schedule.phase import Phase
from deepen.schedule.ramp import Ramp
from deepen.schedule.recipes import BASELINE, RECIPES
from deepen.schedule.trainable import TrainedParts
from deepen.study.define.presets import STUDIES
from deepen.study.define.study import Study
from deepen.train.optim.spec import OptimizerSpec
from deepen.train.settings import PRECISIONS

ATTENTION = ("dense", "causal-exact")
CPU = "cpu"
_FIGURES = (".png", ".svg", ".pdf")
_DEFAULT_STEPS = 10_000


def _read_ramp(text: str) -> Ramp:
    """A ramp such as 0:131072,0.25:524288."""
    tokens = whole_number(minimum=1)
    try:
        pairs = [step.split(":") for step in text.split(",")]
        return Ramp(steps=tuple((float(share), tokens.read(value)) for share, value in pairs))
    except ValueError as error:
        raise ValueError(f"is {text!r}: write share:tokens pairs, 0:256,0.5:1024 ({error})") from None


def _read_figure(text: str) -> Path:
    path: Path = FILE.read(text)
    if path.suffix not in _FIGURES:
        raise ValueError(f"is {text!r}: its name must end in {', '.join(_FIGURES)}")
    if not os.access(path.absolute().parent, os.W_OK) or path.is_dir():
        raise ValueError(f"is {text!r}: name a file in a folder that exists and can be written to")
    return path


def _read_device(text: str) -> str:
    name: str = one_of((*DEVICES, CPU)).read(text.lower())
    return name


_RAMP = ValueType(metavar="RAMP", read=_read_ramp)

RECIPE_PLAN = Command(
    name="plan",
    about="Show what a recipe costs at the compute of full training: phases, exact FLOPs, memory, time, and the "
    "points where its compute equals the baseline's. Nothing is trained.\n\nWith the name of a study: what "
    "`deepen study` with the same options would train, arm by arm.",
    argument=Argument(
        metavar="RECIPE",
        help=f"{', '.join(RECIPES)}; or a study: {', '.join(STUDIES)}",
        names=(*RECIPES, *STUDIES),
    ),
    groups=(
        OptionGroup(title="Model", options=(replace(MODEL_OPTION, default="gpt2-124m"), *SIZE_OPTIONS)),
        OptionGroup(
            title="Budget (one of them) and comparison",
            options=(
                TOKENS_OPTION,
                replace(STEPS_OPTION, default_help=f"{_DEFAULT_STEPS:,}"),
                Option(name="flops", takes=number("FLOPS"), help="the same in FLOPs"),
                Option(
                    name="tokens-per-parameter",
                    takes=number("X"),
                    help="the same in tokens for each non-embedding parameter",
                ),
                Option(name="hours", takes=number("HOURS"), help="the same in hours of all devices"),
                Option(
                    name="against",
                    takes=one_of(RECIPES, metavar="RECIPE"),
                    help="recipe whose compute is the measure",
                    default=BASELINE.name,
                ),
            ),
        ),
        OptionGroup(
            title="Batch",
            options=(
                BATCH_OPTION,
                CONTEXT_OPTION,
                Option(
                    name="batch-ramp", takes=_RAMP, help="batch along the run, share:tokens: 0:131072,0.25:524288"
                ),
                Option(name="context-ramp", takes=_RAMP, help="context along the run: 0:256,0.5:1024"),
            ),
        ),
        OptionGroup(
            title="Recipe (in brackets: the recipes that have an option)",
            options=(*RECIPE_OPTIONS, PRESET_OPTION),
        ),
        OptionGroup(
            title="FLOPs",
            options=(
                Option(
                    name="attention",
                    takes=one_of(ATTENTION),
                    help="how the FLOPs of attention are counted",
                    default="dense",
                ),
                Option(
                    name="ratio",
                    takes=number("X"),
                    help="price of a backward pass in forward passes, in a recipe's published formula",
                    default_help="1",
                ),
                Option(name="parts", help="show FLOPs and bytes of each part and direction"),
            ),
        ),
        OptionGroup(
            title="Time and price",
            options=(
                Option(
                    name="device",
                    takes=ValueType(metavar="NAME", read=_read_device, names=(*DEVICES, CPU)),
                    help="device, for hours; cpu is measured on this machine",
                ),
                Option(
                    name="count", takes=whole_number(minimum=1, maximum=10**6), help="number of devices", default=1
                ),
                Option(
                    name="mfu",
                    takes=number("SHARE", maximum=1),
                    help="share of the device's peak FLOP/s that training achieves",
                    default_help=str(DEFAULT_UTILISATION),
                ),
                Option(name="bench", takes=FILE, help="figures of deepen bench, in place of --device and --mfu"),
                Option(name="price-per-hour", takes=number("PRICE"), help="price of a device for an hour"),
            ),
        ),
        OptionGroup(
            title="Memory",
            options=(
                replace(
                    PRECISION_OPTION,
                    takes=one_of(PRECISIONS),
                    help="precision of a step",
                    default_help="bf16 with a GPU named, else fp32",
                ),
                MOMENT_PRECISION_OPTION,
                Option(
                    name="micro-batch-tokens",
                    takes=whole_number("TOKENS", minimum=1),
                    help="tokens that a device processes at once",
                    default_help="as many as keep the logits under 1 GiB",
                ),
                Option(name="shard", help="divide weights, gradients and moments among the devices (FSDP)"),
                CHECKPOINTING_OPTION,
            ),
        ),
        OptionGroup(
            title="Output",
            options=(
                Option(
                    name="figure",
                    takes=ValueType(metavar="FILE", read=_read_figure, completion=FILE.completion),
                    help="draw depth, trained part and compute over tokens: a .png, .svg or .pdf file",
                ),
                replace(JSON_OPTION, help="print the plan as JSON"),
            ),
        ),
    ),
    examples=(
        Example(line="deepen plan two-phase --stages 8", purpose="the paper's recipe on GPT-2 124M"),
        Example(
            line="deepen plan one-shot --model llama-1b --tokens 20B --device h100 --count 8",
            purpose="hours on eight GPUs",
        ),
        Example(line="deepen plan paper --scale 0.01", purpose="a whole study, at a hundredth of its size"),
    ),
)
STUDY_PLAN = Command(
    name="plan",
    about="Show the points at which the arms of a study are compared, and what they cost. Nothing is trained. The "
    "options are those of `deepen study`.",
    argument=Argument(metavar="STUDY", help=", ".join(STUDIES), names=tuple(STUDIES)),
    groups=(
        *STUDY.groups[:-1],
        replace(
            STUDY.groups[-1],
            options=(*STUDY.groups[-1].options[:-1], replace(JSON_OPTION, help="print the plan as JSON")),
        ),
    ),
    examples=(
        Example(line="deepen plan paper", purpose="the paper's study"),
        Example(line="deepen plan quickstart --model micro --json", purpose="another model, for a script"),
    ),
)
COMMAND = RECIPE_PLAN
FORMS = (RECIPE_PLAN, STUDY_PLAN)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipePlanRequest:
    """A recipe to plan, and how to print the plan.

    Attributes:
        plan: what is planned; where seconds are asked for, its clock is a stand-in that the command replaces.
        device: a device's name, `CPU`, or empty where there is none.
        utilisation: share of the devices' peak that training achieves.
        timing: bench figures, where they give the seconds.
        figure: the file that gets the figure, if any.
    """

    command: ClassVar[Command] = RECIPE_PLAN
    plan: PlanRequest
    device: str
    count: int
    utilisation: float
    timing: Timing | None
    price_per_hour: float | None
    show_parts: bool
    figure: Path | None
    as_json: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlanRequest:
    """A study to plan."""

    command: ClassVar[Command] = STUDY_PLAN
    study: Study
    as_json: bool


def parse(argv: Sequence[str]) -> RecipePlanRequest | StudyPlanRequest:
    """Parse the command line; which options there are depends on what is planned."""
    if first_argument(argv, (*RECIPE_PLAN.options, *STUDY_PLAN.options)) in STUDIES:
        return _parse_study_plan(parse_arguments(STUDY_PLAN, argv))
    return _parse_recipe_plan(parse_arguments(RECIPE_PLAN, argv))


def _parse_study_plan(arguments: Arguments) -> StudyPlanRequest:
    study = parse_study(arguments)
    arguments.check()
    assert study is not None
    return StudyPlanRequest(study=study, as_json="json" in arguments)


def _parse_recipe_plan(arguments: Arguments) -> RecipePlanRequest:
    model = parse_model(arguments)
    timing = _parse_timing(arguments, model)
    _check_combinations(arguments)
    plan = _parse_plan(arguments, model, timing)
    arguments.check()
    assert plan is not None
    return RecipePlanRequest(
        plan=plan,
        device=arguments.get("device", ""),
        count=arguments["count"],
        utilisation=arguments.get("mfu", DEFAULT_UTILISATION),
        timing=timing,
        price_per_hour=arguments["price_per_hour"],
        show_parts="parts" in arguments,
        figure=arguments["figure"],
        as_json="json" in arguments,
    )


def _parse_plan(arguments: Arguments, model: ModelConfig, timing: Timing | None) -> PlanRequest | None:
    arm = parse_arm(arguments, model)
    on_gpu = arguments.get("device", CPU) != CPU
    precision = arguments.get("precision", timing.precision if timing else "bf16" if on_gpu else "fp32")
    recomputes = "activation_checkpointing" in arguments
    has_clock = timing is not None or "device" in arguments
    units = [unit for unit in BUDGETS if unit in arguments and (unit != "hours" or has_clock)]
    unit = units[0] if units else "steps"
    return arguments.attempt(
        lambda: PlanRequest(
            model=model,
            recipe=arm.recipe,
            options=arm.options,
            budget=arguments.get(unit, _DEFAULT_STEPS),
            budget_unit=unit,
            batch_tokens=_parse_batch_tokens(arguments, model, timing),
            context=arguments.get("context", model.context),
            ledger=Ledger(
                model=model,
                causal_exact=arguments["attention"] == "causal-exact",
                activation_checkpointing=recomputes,
            ),
            memory=MemorySettings(
                precision=precision,
                optimizer=OptimizerSpec.adamw(state_precision=arguments.get("moment_precision", "fp32")).cost,
                micro_batch_tokens=arguments.get("micro_batch_tokens", 0),
                devices=arguments["count"],
                sharded="shard" in arguments,
                activation_checkpointing=recomputes,
                gpu=on_gpu,
            ),
            against=arguments["against"],
            ratio=arguments.get("ratio", 1.0),
            batch_ramp=arguments["batch_ramp"],
            context_ramp=arguments["context_ramp"],
            clock=_stand_in_clock if has_clock else None,
        )
    )


def _stand_in_clock(phase: Phase, trained: TrainedParts) -> float:
    """Stands for the clock while a request is checked; the command makes it, because a CPU is measured first."""
    raise NotImplementedError


def _parse_batch_tokens(arguments: Arguments, model: ModelConfig, timing: Timing | None) -> int:
    """Tokens of a step: those asked for, the bench's, the preset's even where its sizes change, or usual ones."""
    if "batch_ramp" in arguments:
        ramp: Ramp = arguments["batch_ramp"]
        return max(size for _, size in ramp.steps)  # totals are whole steps of the largest
    preset = PRESETS[arguments["model"]] if "model" in arguments else model
    usual = timing.batch_tokens if timing else tokens_per_step(preset, arguments.get("context", model.context))
    return arguments.get("batch_tokens", usual)


def _parse_timing(arguments: Arguments, model: ModelConfig) -> Timing | None:
    """The bench figures that are named, if they were measured on this model, context and batch."""
    if "bench" not in arguments:
        return None
    timing = arguments.attempt(lambda: read_timing(arguments["bench"]))
    if timing is None:
        return None
    context, batch = arguments.get("context", model.context), arguments.get("batch_tokens", timing.batch_tokens)
    arguments.attempt(lambda: timing.check(model, context, batch))
    if arguments.get("precision", timing.precision) != timing.precision:
        arguments.add(f"--precision and --bench: its figures are of {timing.precision}; leave one out")
    return timing


def _check_combinations(arguments: Arguments) -> None:
    """Add problems of options that exclude or need each other."""
    units = [f"--{unit.replace('_', '-')}" for unit in BUDGETS if unit in arguments]
    if len(units) > 1:
        arguments.add(f"{' and '.join(units)} all set the budget: give one of them")
    if "bench" in arguments:
        _check_beside_bench(arguments)
    elif "device" not in arguments and "device" not in arguments.refused:
        for key in ("mfu", "price_per_hour", "hours"):
            if key in arguments:
                arguments.add(f"{flags([key])} needs a --device: use {', '.join(DEVICES)} or {CPU}")
    if arguments.get("device", CPU) != CPU and arguments.get("precision", "bf16") == "fp32":
        arguments.add(
            "--precision fp32 and --device: the table's peaks are of bf16; leave one out, or use --bench"
        )
    if "shard" in arguments and arguments["count"] < 2:
        arguments.add("--shard needs devices to share among: give --count of at least 2")
    recipe = RECIPES.get(arguments.argument)
    if "ratio" in arguments and recipe is not None and recipe.closed_form is None:
        arguments.add(f"--ratio is of a recipe's published formula: {recipe.name} has none")
    for name, option in (("batch", "batch_tokens"), ("context", "context")):
        if f"{name}_ramp" in arguments and option in arguments:
            arguments.add(f"--{name}-ramp and {flags([option])} both set the {name}: give one of them")


def _check_beside_bench(arguments: Arguments) -> None:
    """Add problems of options that do not go with bench figures."""
    for key in ("device", "mfu", "activation_checkpointing"):
        if key in arguments:
            arguments.add(f"{flags([key])} and --bench exclude each other: give one")
    for key in ("batch_ramp", "context_ramp"):
        if key in arguments:
            arguments.add(f"{flags([key])} and --bench: its figures are of one batch and context; use --device")
    if arguments["count"] > 1:
        arguments.add("--count and --bench: its figures are of one device; use --device and --mfu")
