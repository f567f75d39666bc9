"""`deepen bench`: what each kind of phase takes on this device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepen.bench.other_trainers import OTHER_TRAINERS, check_installed
from deepen.cli.requests.budget_options import BATCH_OPTION, CONTEXT_OPTION
from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.model_options import MODEL_OPTION, SIZE_OPTIONS, parse_model
from deepen.cli.requests.optimizer_options import MOMENT_PRECISION_OPTION, OPTIMIZER_OPTION
from deepen.cli.requests.parser import Arguments, parse_arguments
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.training_options import (
    COMPILE_OPTION,
    MICRO_BATCH_OPTION,
    PRECISION_OPTION,
    parse_settings,
)
from deepen.cli.requests.value_types import NEW_FILE, one_of, some_of, whole_number
from deepen.compute.bench_file import IncompleteBenchError, read_timing
from deepen.model.presets import tokens_per_step
from deepen.schedule.recipes import BASELINE
from deepen.study.define.evaluation import Evaluation
from deepen.study.define.study import Arm, Study
from deepen.train.limits import describe_cores, usable_cores
from deepen.train.settings import PRECISIONS, TrainSettings

COMMAND = Command(
    name="bench",
    about="Measure what each kind of phase takes on this device, and compare it with what the ledger counts. "
    "`deepen plan --bench` plans in seconds by the figures.",
    groups=(
        OptionGroup(
            title="Model and batch",
            options=(replace(MODEL_OPTION, default="nano"), *SIZE_OPTIONS, BATCH_OPTION, CONTEXT_OPTION),
        ),
        OptionGroup(
            title="Training steps",
            options=(
                replace(PRECISION_OPTION, takes=one_of(PRECISIONS), help="precision of a step"),
                OPTIMIZER_OPTION,
                MOMENT_PRECISION_OPTION,
                COMPILE_OPTION,
                MICRO_BATCH_OPTION,
                Option(
                    name="threads",
                    takes=whole_number(minimum=1, maximum=1024),
                    help="number of CPU threads of a step",
                    default=1,
                ),
            ),
        ),
        OptionGroup(
            title="Measurement",
            options=(
                Option(
                    name="steps",
                    takes=whole_number(minimum=1),
                    help="number of steps to measure of each kind of phase",
                    default=10,
                ),
                Option(
                    name="against", takes=some_of(OTHER_TRAINERS), help="measure these too", default_help="none"
                ),
            ),
        ),
        OptionGroup(
            title="Output",
            options=(
                Option(
                    name="out",
                    short="-o",
                    takes=NEW_FILE,
                    help="write the figures to a file, for deepen plan --bench",
                    default_help="none",
                ),
                replace(JSON_OPTION, help="print the figures as JSON"),
            ),
        ),
    ),
    examples=(
        Example(line="deepen bench --model nano --out bench.json", purpose="measure, and keep the figures"),
        Example(line="deepen plan two-phase --model nano --bench bench.json", purpose="plan in seconds by them"),
        Example(
            line="deepen bench --model micro --precision bf16 --against loop",
            purpose="beside a plain training loop",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchRequest:
    """What is to be measured.

    Attributes:
        study: full training in the sizes and settings that are measured.
        steps: measured of each kind of phase.
        threads: CPU threads of a step.
        against: other trainers that are measured, too.
        out: the file that gets the figures, if any.
    """

    command: ClassVar[Command] = COMMAND
    study: Study
    steps: int
    threads: int
    against: tuple[str, ...]
    out: Path | None
    as_json: bool


def parse(argv: Sequence[str]) -> BenchRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    study = _parse_study(arguments)
    threads = arguments["threads"]
    if threads > usable_cores():
        arguments.add(f"--threads is {threads}: {describe_cores()}")
    if "out" in arguments:
        arguments.attempt(lambda: _check_replaceable(arguments["out"]))
    against: tuple[str, ...] = arguments.get("against", ())
    arguments.attempt(lambda: check_installed(against))
    arguments.check()
    assert study is not None
    return BenchRequest(
        study=study,
        steps=arguments["steps"],
        threads=threads,
        against=against,
        out=arguments["out"],
        as_json="json" in arguments,
    )


def _parse_study(arguments: Arguments) -> Study | None:
    """What is to be measured, as a study of full training: what a study checks holds for steps, too."""
    model = parse_model(arguments)
    context = arguments.get("context", model.context)
    batch_tokens = arguments.get("batch_tokens", tokens_per_step(model, context))
    return arguments.attempt(
        lambda: Study(
            name="bench",
            model=model,
            tokens=batch_tokens,
            batch_tokens=batch_tokens,
            context=context,
            arms=(Arm(name=BASELINE.name, recipe=BASELINE.name),),
            evaluation=Evaluation(every_tokens=batch_tokens, validation_tokens=context),
            settings=parse_settings(arguments, TrainSettings()),
        )
    )


def _check_replaceable(out: Path) -> None:
    """Raise a ValueError if the figures would replace something else."""
    if out.exists():
        try:
            read_timing(out)
        except IncompleteBenchError:
            return
        except ValueError:
            raise ValueError(f"--out {out} contains no bench figures: name another file") from None
