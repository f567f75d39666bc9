"""The table of `deepen study`."""

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature

from deepen.cli.requests.budget_options import BATCH_OPTION, CONTEXT_OPTION, TOKENS_OPTION
from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.data_options import DATA_DTYPE_OPTION, DATA_OPTION, TOKENIZER_OPTION
from deepen.cli.requests.executor import EXECUTOR_OPTION, JOBS_OPTION, THREADS_OPTION
from deepen.cli.requests.map_options import MAP, MODELS_OPTION
from deepen.cli.requests.model_options import MODEL_OPTION, SIZE_OPTIONS
from deepen.cli.requests.optimizer_options import MOMENT_PRECISION_OPTION, OPTIMIZER_OPTION
from deepen.cli.requests.ramp_options import RAMP_OPTIONS
from deepen.cli.requests.rate_options import LR_OPTION, RATE_OPTIONS
from deepen.cli.requests.result_options import JSON_OPTION, KEEP_OPTION, OUT_OPTION, TRACK_OPTION, VERIFY_OPTION
from deepen.cli.requests.task_options import HELLASWAG_OPTION, TASK_OPTION
from deepen.cli.requests.training_options import (
    COMPILE_OPTION,
    MICRO_BATCH_OPTION,
    PRECISION_OPTION,
    REDUCE_OPTION,
    SHARD_OPTION,
    SPIKE_OPTION,
)
from deepen.cli.requests.tuning_options import TUNING_OPTIONS
from deepen.cli.requests.value_types import (
    TEXT,
    Completion,
    comma_separated,
    number,
    one_of,
    some_of,
    whole_number,
)
from deepen.study.define.fair import FAIR_RECIPES
from deepen.study.define.fair_presets import DEFAULT, FAIR_PRESETS
from deepen.study.define.presets import DEFAULT_PRESET, PAPER_PRESETS, STUDIES
from deepen.study.map.define import MAP_BUDGETS, MAP_PRESETS, MAP_RECIPES

_THE_STUDYS = "the study's"


def _studies_with(parameter: str) -> tuple[str, ...]:
    """The studies whose function takes a parameter."""
    return tuple(name for name, make in STUDIES.items() if parameter in signature(make).parameters)


STUDY_NAMES = (*STUDIES, MAP)
"""What can be run by name: the studies, and the map, which is several."""


def _list_budgets(budgets: Sequence[float]) -> str:
    return ",".join(f"{budget:g}" for budget in budgets)


OWN_OPTIONS = {
    "preset": (*_studies_with("preset"), MAP),
    "models": (MAP,),
    "budgets": (*_studies_with("budgets"), MAP),
    "recipes": (*_studies_with("recipes"), MAP),
}
"""The options that only some studies take, with the names of these studies."""

_STUDY_GROUPS = (
    OptionGroup(
        title="Model and batch",
        options=(
            replace(MODEL_OPTION, help="another model", default_help=_THE_STUDYS),
            MODELS_OPTION,
            *SIZE_OPTIONS,
            replace(BATCH_OPTION, default_help=_THE_STUDYS),
            replace(CONTEXT_OPTION, default_help="the study's, at most the model's positions"),
            *(
                replace(option, help=f"{option.help}; the baseline has it in an arm of its own")
                for option in RAMP_OPTIONS
            ),
        ),
    ),
    OptionGroup(
        title="What is compared",
        options=(
            Option(
                name="seeds",
                takes=whole_number(minimum=1, maximum=1000),
                help="number of seeds; no verdict is written with fewer",
                default_help=_THE_STUDYS,
            ),
            Option(
                name="primary",
                takes=replace(TEXT, metavar="ARM"),
                help="the arm that the study is about, declared before its first verdict",
                default_help=_THE_STUDYS,
            ),
            Option(
                name="preset",
                takes=one_of(dict.fromkeys((*PAPER_PRESETS, *FAIR_PRESETS, *MAP_PRESETS))),
                help="of paper: as it is written, or as its code was released; of fair and map: sizes, budgets "
                "and seeds for an answer within 20 minutes or 2 hours on one H100. Other options change a preset",
                default_help=f"{DEFAULT_PRESET} of paper, else none",
                owners=OWN_OPTIONS["preset"],
            ),
            Option(
                name="recipes",
                takes=some_of(FAIR_RECIPES),
                help="the recipes to compare; their controls are added",
                default_help=f"{','.join(map(str, DEFAULT.recipes))}; of a map {','.join(MAP_RECIPES)}",
                owners=OWN_OPTIONS["recipes"],
            ),
            Option(
                name="budgets",
                takes=comma_separated(number("TOKENS", maximum=1e6)),
                help="budgets to compare them at: the baseline's tokens per parameter, embeddings apart",
                default_help=f"{_list_budgets(DEFAULT.budgets)}; of a map {_list_budgets(MAP_BUDGETS)}",
                owners=OWN_OPTIONS["budgets"],
            ),
            replace(TOKENS_OPTION, default_help=_THE_STUDYS),
            Option(
                name="scale",
                takes=number("SHARE", maximum=1000),
                help="share of the study's tokens: 0.01 trains a hundredth",
                default_help="1",
            ),
            Option(
                name="points",
                takes=whole_number(minimum=1, maximum=100_000),
                help="number of points up to the baseline's tokens at which losses and tasks are evaluated",
                default_help=_THE_STUDYS,
            ),
            replace(DATA_OPTION, default=None, default_help=_THE_STUDYS),
            TOKENIZER_OPTION,
            DATA_DTYPE_OPTION,
            HELLASWAG_OPTION,
            replace(TASK_OPTION, default_help=_THE_STUDYS),
        ),
    ),
    OptionGroup(title="Equal tuning, and the best fixed depth", options=TUNING_OPTIONS),
    OptionGroup(
        title="Training steps",
        options=(
            replace(LR_OPTION, default_help="the study's, or that of --model"),
            *(replace(option, default_help=_THE_STUDYS) for option in RATE_OPTIONS),
            SPIKE_OPTION,
            replace(PRECISION_OPTION, default_help=_THE_STUDYS),
            replace(OPTIMIZER_OPTION, default_help=_THE_STUDYS),
            replace(MOMENT_PRECISION_OPTION, default_help=_THE_STUDYS),
            replace(COMPILE_OPTION, default_help=_THE_STUDYS),
            replace(MICRO_BATCH_OPTION, default_help=_THE_STUDYS),
        ),
    ),
)

STUDY = Command(
    name="study",
    about="Run or continue a study: train its arms, judge them at equal compute, draw the report. "
    "The same command continues what was interrupted, and adds what is new, such as more seeds.",
    argument=Argument(
        metavar="NAME",
        help=f"{', '.join(STUDY_NAMES)}, or a Python file that assigns a `deepen.Study` to `study`",
        suggested=STUDY_NAMES,
        completion=Completion.FILES,
    ),
    groups=(
        *_STUDY_GROUPS,
        OptionGroup(
            title="Where segments are trained",
            options=(EXECUTOR_OPTION, JOBS_OPTION, THREADS_OPTION, SHARD_OPTION, REDUCE_OPTION),
        ),
        OptionGroup(
            title="Results",
            options=(
                OUT_OPTION,
                KEEP_OPTION,
                VERIFY_OPTION,
                TRACK_OPTION,
                replace(JSON_OPTION, help="print the verdicts as JSON"),
            ),
        ),
    ),
    examples=(
        Example(line="deepen study quickstart", purpose="the paper's comparison in minutes on two CPU cores"),
        Example(line="deepen study quickstart --seeds 4", purpose="more seeds, beside those that are there"),
        Example(
            line="deepen study quickstart --tune-rate 3 --depths 1,2,4",
            purpose="three rates for every arm and depth, and the best fixed depth as a second baseline",
        ),
        Example(
            line="deepen study paper --data sotu --model nano --scale 6e-6 --jobs 1",
            purpose="the paper's protocol on a small model, scaled down to seconds",
        ),
        Example(
            line="deepen study fair --model micro --budgets 5,10,20 --recipes one-shot,stack --seeds 3",
            purpose="recipes at several budgets, every arm tuned alike",
        ),
        Example(
            line="deepen study fair --preset gpu-20min --data fineweb-edu-8k",
            purpose="an answer within 20 minutes on an H100; deepen plan fair --preset gpu-20min prices it",
        ),
        Example(
            line="deepen study map --models 4x24,4x32,4x48,4x64 --seeds 3",
            purpose="the same for several sizes: where growing pays",
        ),
    ),
)
