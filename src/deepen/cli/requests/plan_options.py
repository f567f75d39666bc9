"""The tables of `deepen plan`: one for a recipe, one for a study."""

from dataclasses import replace
from pathlib import Path

from deepen.cli.requests.budget_options import (
    BATCH_OPTION,
    CONTEXT_OPTION,
    STEPS_OPTION,
    TOKENS_OPTION,
)
from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.model_options import MODEL_OPTION, SIZE_OPTIONS
from deepen.cli.requests.optimizer_options import MOMENT_PRECISION_OPTION, OPTIMIZER_OPTION
from deepen.cli.requests.ramp_options import RAMP_OPTIONS
from deepen.cli.requests.rate_options import RATE_OPTIONS
from deepen.cli.requests.recipe_options import PRESET_OPTION, RECIPE_OPTIONS
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.study_options import STUDY, STUDY_NAMES
from deepen.cli.requests.training_options import (
    CHECKPOINTING_OPTION,
    MICRO_BATCH_OPTION,
    PRECISION_OPTION,
    REDUCE_OPTION,
    SHARD_OPTION,
)
from deepen.cli.requests.user_file import ANY_RECIPE
from deepen.cli.requests.value_types import (
    FILE,
    NEW_FILE,
    Completion,
    ValueType,
    number,
    one_of,
    read_text,
    whole_number,
)
from deepen.compute.devices import DEFAULT_MFU, DEVICES, DEVICES_PER_NODE
from deepen.schedule.recipes import BASELINE, RECIPES
from deepen.train.settings import PRECISIONS

ATTENTION = ("dense", "causal-exact")
CPU = "cpu"
_FIGURES = (".png", ".svg", ".pdf")
DEFAULT_STEPS = 10_000


def _read_figure(text: str) -> Path:
    if Path(read_text(text)).suffix not in _FIGURES:
        raise ValueError(f"is {text!r}: its name must end in {', '.join(_FIGURES)}")
    path: Path = NEW_FILE.read(text)
    return path


def _read_device(text: str) -> str:
    name: str = one_of((*DEVICES, CPU)).read(text.lower())
    return name


FLEET_OPTIONS = (
    Option(
        name="device",
        takes=ValueType(metavar="NAME", read=_read_device, names=(*DEVICES, CPU)),
        help="device, for hours; cpu is measured on this machine",
        default_help="none: FLOPs alone",
    ),
    Option(
        name="count",
        takes=whole_number(minimum=1, maximum=10**6),
        help="number of devices",
        default=1,
        fields=("devices",),
    ),
    Option(
        name="mfu",
        takes=number("SHARE", maximum=1),
        help="share of the device's peak FLOP/s that training achieves",
        default_help=str(DEFAULT_MFU),
    ),
)
PRICE_OPTION = Option(
    name="price-per-hour",
    takes=number("PRICE"),
    help="price of a device for an hour, in any currency",
    default_help="none",
)

RECIPE_PLAN = Command(
    name="plan",
    about="Show what a recipe saves at as many tokens as full training, and what it costs at the same compute: "
    "phases, exact FLOPs, memory, time, and the points where its compute equals the baseline's. Nothing is "
    "trained.\n\nWith a study: what `deepen study` with the same options would train, arm by arm.",
    argument=Argument(
        metavar="RECIPE",
        help=f"{', '.join(RECIPES)}, or one in a file, ./mine.py:my_recipe; or a study: {', '.join(STUDY_NAMES)}, "
        "or its file, mine.py",
        names=(*RECIPES, *STUDY_NAMES),
        completion=Completion.FILES,
    ),
    groups=(
        OptionGroup(title="Model", options=(replace(MODEL_OPTION, default="gpt2-124m"), *SIZE_OPTIONS)),
        OptionGroup(
            title="Budget (one of them, and hours as a limit) and comparison",
            options=(
                replace(TOKENS_OPTION, default_help="none"),
                replace(STEPS_OPTION, default_help=f"{DEFAULT_STEPS:,}"),
                Option(name="flops", takes=number("FLOPS"), help="the same in FLOPs", default_help="none"),
                Option(
                    name="tokens-per-parameter",
                    takes=number("TOKENS"),
                    help="the same in tokens for each non-embedding parameter",
                    default_help="none",
                ),
                Option(
                    name="hours",
                    takes=number("HOURS"),
                    help="the same in hours of all devices; beside another budget, the time that there is",
                    default_help="none",
                ),
                Option(
                    name="against",
                    takes=ANY_RECIPE,
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
                *RAMP_OPTIONS,
            ),
        ),
        OptionGroup(
            title="Recipe (in brackets: the recipes that have an option)",
            options=(*RECIPE_OPTIONS, PRESET_OPTION),
        ),
        OptionGroup(
            title="Learning rate, which changes no cost",
            options=RATE_OPTIONS,
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
                    takes=number("PASSES"),
                    help="price of a backward pass in forward passes, in a recipe's published formula",
                    default_help="1",
                ),
                Option(name="parts", help="show FLOPs and bytes of each part and direction"),
                Option(name="trainable", help="show which parameters train in each phase, by name"),
            ),
        ),
        OptionGroup(
            title="Time and price",
            options=(
                *FLEET_OPTIONS,
                Option(
                    name="bench",
                    takes=FILE,
                    help="figures of deepen bench, in place of --device and --mfu",
                    default_help="none",
                ),
                PRICE_OPTION,
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
                OPTIMIZER_OPTION,
                MOMENT_PRECISION_OPTION,
                MICRO_BATCH_OPTION,
                replace(
                    SHARD_OPTION,
                    help="divide weights, gradients and moments among the devices (FSDP); with node, among the "
                    f"{DEVICES_PER_NODE} of each machine, so that every machine has a copy (HSDP)",
                    default_help="a whole copy on each device",
                    fields=("sharded", "shard_group"),
                ),
                REDUCE_OPTION,
                CHECKPOINTING_OPTION,
            ),
        ),
        OptionGroup(
            title="Output",
            options=(
                Option(
                    name="figure",
                    takes=replace(NEW_FILE, read=_read_figure),
                    help="draw depth, trained part and compute over tokens: a .png, .svg or .pdf file",
                    default_help="none",
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
_STUDY_FLEET_OPTIONS = (
    *FLEET_OPTIONS[:-1],
    replace(FLEET_OPTIONS[-1], default_help=f"{DEFAULT_MFU} from width 768 on, less for narrower models"),
)
STUDY_PLAN = Command(
    name="plan",
    about="Show the points at which the arms of a study are compared, what they cost, and the smallest gain that "
    "so many seeds can detect. Nothing is trained. The options are those of `deepen study`.",
    argument=Argument(
        metavar="STUDY",
        help=f"{', '.join(STUDY_NAMES)}, a Python file that assigns a `deepen.Study` to `study`, or the folder of "
        "a study, which is planned with the spreads that it has measured",
        suggested=STUDY_NAMES,
        completion=Completion.FILES,
    ),
    groups=(
        *STUDY.groups[:-1],
        OptionGroup(title="Time and price", options=(*_STUDY_FLEET_OPTIONS, PRICE_OPTION)),
        replace(
            STUDY.groups[-1],
            options=(*STUDY.groups[-1].options[:-1], replace(JSON_OPTION, help="print the plan as JSON")),
        ),
    ),
    examples=(
        Example(line="deepen plan paper", purpose="the paper's study"),
        Example(
            line="deepen plan paper --device h100 --count 8 --price-per-hour 2.5",
            purpose="its hours and its price",
        ),
        Example(line="deepen plan fair --preset gpu-20min", purpose="what it would take, on each card"),
        Example(line="deepen plan quickstart --model micro --json", purpose="another model, for a script"),
    ),
)
