"""The table of `deepen train`."""

from dataclasses import replace

from deepen.cli.requests.budget_options import BATCH_OPTION, CONTEXT_OPTION, STEPS_OPTION, TOKENS_OPTION
from deepen.cli.requests.checkpoint_options import START_OPTIONS
from deepen.cli.requests.command import Argument, Command, Example, Option, OptionGroup
from deepen.cli.requests.data_options import DATA_DTYPE_OPTION, DATA_OPTION, TOKENIZER_OPTION
from deepen.cli.requests.executor import THREADS_OPTION
from deepen.cli.requests.model_options import MODEL_OPTION, SIZE_OPTIONS
from deepen.cli.requests.optimizer_options import MOMENT_PRECISION_OPTION, OPTIMIZER_OPTION
from deepen.cli.requests.ramp_options import RAMP_OPTIONS
from deepen.cli.requests.rate_options import LR_OPTION, RATE_OPTIONS
from deepen.cli.requests.recipe_options import PRESET_OPTION, RECIPE_OPTIONS
from deepen.cli.requests.result_options import JSON_OPTION, KEEP_OPTION, OUT_OPTION, TRACK_OPTION, VERIFY_OPTION
from deepen.cli.requests.task_options import HELLASWAG_OPTION, TASK_OPTION
from deepen.cli.requests.training_options import (
    CHECKPOINTING_OPTION,
    COMPILE_OPTION,
    MICRO_BATCH_OPTION,
    PRECISION_OPTION,
    REDUCE_OPTION,
    SHARD_OPTION,
    SPIKE_OPTION,
)
from deepen.cli.requests.user_file import ANY_RECIPE
from deepen.cli.requests.value_types import Completion, whole_number
from deepen.schedule.recipes import RECIPES

TOKENS_PER_PARAMETER = 20
"""The default budget: tokens for each non-embedding parameter."""

TRAIN = Command(
    name="train",
    about="Train one arm: a recipe on a model, for the compute of full training over the budget. "
    "Results go to a folder like a study's. The same command continues what was interrupted.",
    argument=Argument(
        metavar="RECIPE",
        help=f"{', '.join(RECIPES)}, which `deepen recipes` explains; or a function in a Python file, "
        "./mine.py:my_recipe, whose arguments become options",
        names=tuple(RECIPES),
        completion=Completion.FILES,
    ),
    groups=(
        OptionGroup(title="Model", options=(replace(MODEL_OPTION, default="nano"), *SIZE_OPTIONS)),
        OptionGroup(title="Checkpoint", options=START_OPTIONS),
        OptionGroup(
            title="Budget and batch",
            options=(
                replace(TOKENS_OPTION, default_help=f"{TOKENS_PER_PARAMETER} for each non-embedding parameter"),
                STEPS_OPTION,
                BATCH_OPTION,
                CONTEXT_OPTION,
                *RAMP_OPTIONS,
            ),
        ),
        OptionGroup(
            title="Recipe (in brackets: the recipes that have an option)", options=(*RECIPE_OPTIONS, PRESET_OPTION)
        ),
        OptionGroup(
            title="Comparison",
            options=(
                Option(
                    name="against",
                    takes=ANY_RECIPE,
                    help="train this recipe too, and judge both at equal compute and at equal tokens",
                    default_help="none",
                ),
                Option(
                    name="seeds",
                    takes=whole_number(minimum=1, maximum=1000),
                    help="number of seeds, from --seed on",
                    default=1,
                ),
            ),
        ),
        OptionGroup(
            title="Data and seed",
            options=(
                DATA_OPTION,
                TOKENIZER_OPTION,
                DATA_DTYPE_OPTION,
                Option(
                    name="seed",
                    takes=whole_number("SEED"),
                    help="seed of initialisation and data order",
                    default=0,
                ),
            ),
        ),
        OptionGroup(title="Tasks", options=(HELLASWAG_OPTION, TASK_OPTION)),
        OptionGroup(
            title="Training steps",
            options=(
                LR_OPTION,
                *RATE_OPTIONS,
                SPIKE_OPTION,
                PRECISION_OPTION,
                OPTIMIZER_OPTION,
                MOMENT_PRECISION_OPTION,
                COMPILE_OPTION,
                MICRO_BATCH_OPTION,
                CHECKPOINTING_OPTION,
                SHARD_OPTION,
                REDUCE_OPTION,
                THREADS_OPTION,
            ),
        ),
        OptionGroup(title="Results", options=(OUT_OPTION, KEEP_OPTION, VERIFY_OPTION, TRACK_OPTION, JSON_OPTION)),
    ),
    examples=(
        Example(line="deepen train full --steps 200", purpose="the baseline on the smallest model, for 200 steps"),
        Example(
            line="deepen train two-phase --stages 8 --steps 200", purpose="the paper's recipe in eight stages"
        ),
        Example(
            line="deepen train one-shot --against full --seeds 3",
            purpose="one recipe beside full training: its loss at equal compute and at equal tokens",
        ),
        Example(
            line="deepen train one-shot --start-depth 6 --grow-at 0.7 --seed 3",
            purpose="six blocks for 70 % of the tokens, then all twelve",
        ),
        Example(
            line="deepen train expand --from deepen-runs/full-nano-seed-0 --depth 16 --steps 100",
            purpose="four new blocks in the model of the first example, and only they train",
        ),
    ),
)
