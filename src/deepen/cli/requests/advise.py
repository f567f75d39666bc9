"""`deepen advise`: what a measured map and the ledger suggest for a model and a budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepen.cli.requests.budget_options import BATCH_OPTION, TOKENS_OPTION
from deepen.cli.requests.command import Command, Example, Option, OptionGroup
from deepen.cli.requests.model_options import MODEL_OPTION, SIZE_OPTIONS, parse_model
from deepen.cli.requests.parser import Arguments, parse_arguments
from deepen.cli.requests.plan_options import FLEET_OPTIONS, PRICE_OPTION
from deepen.cli.requests.result_options import JSON_OPTION
from deepen.cli.requests.value_types import Completion, ValueType, number, read_path
from deepen.compute.devices import DEFAULT_MFU
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS, tokens_per_step
from deepen.study.map.schema import MAP_FILE

COMMAND = Command(
    name="advise",
    about="What a measured map and the ledger suggest for a model and a budget: a recipe, the compute multiplier "
    "to expect with its interval, what it would save, what lies outside the measured range, and the cheap study "
    "that would test it. Nothing is trained.",
    groups=(
        OptionGroup(title="Model", options=(replace(MODEL_OPTION, default="gpt2-124m"), *SIZE_OPTIONS)),
        OptionGroup(
            title="Budget of full training (one of them)",
            options=(
                replace(TOKENS_OPTION, default_help="none"),
                Option(
                    name="tokens-per-parameter",
                    takes=number("TOKENS"),
                    help="the same in tokens for each non-embedding parameter",
                    default_help="none",
                ),
                BATCH_OPTION,
            ),
        ),
        OptionGroup(
            title="Measurements",
            options=(
                Option(
                    name="map",
                    takes=ValueType(metavar="FILE", read=read_path, completion=Completion.FILES),
                    help="map.json of `deepen study map`, or its folder",
                    default_help="the one that ships with deepen: docs/results/map.md",
                ),
            ),
        ),
        OptionGroup(title="Time and price", options=(*FLEET_OPTIONS, PRICE_OPTION)),
        OptionGroup(title="Output", options=(JSON_OPTION,)),
    ),
    examples=(
        Example(
            line="deepen advise --depth 24 --width 1024 --tokens 20e9", purpose="24 blocks on 20 billion tokens"
        ),
        Example(
            line="deepen advise --model llama-1b --tokens-per-parameter 20 --device h100 --count 8 "
            "--price-per-hour 2.5",
            purpose="what there would be to save, in hours and money",
        ),
        Example(
            line="deepen advise --model micro --tokens-per-parameter 20 --map deepen-runs/map",
            purpose="by a map of one's own",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdviseRequest:
    """A model, a budget, and where the measurements are; the device as in `RecipePlanRequest`."""

    command: ClassVar[Command] = COMMAND
    model: ModelConfig
    tokens: float
    batch_tokens: int
    map: Path | None
    device: str
    count: int
    mfu: float
    price_per_hour: float | None
    as_json: bool


def parse(argv: Sequence[str]) -> AdviseRequest:
    """Parse the command line."""
    arguments = parse_arguments(COMMAND, argv)
    _keep_head_width(arguments)
    model = parse_model(arguments)
    budgets = [key for key in ("tokens", "tokens_per_parameter") if key in arguments]
    if len(budgets) != 1 and not {"tokens", "tokens_per_parameter"} & arguments.refused:
        wrong = "both set the budget: give one of them" if budgets else "are missing: give one of them"
        arguments.add(f"--tokens and --tokens-per-parameter {wrong}")
    for key in ("mfu", "price_per_hour"):
        if key in arguments and "device" not in arguments and "device" not in arguments.refused:
            arguments.add(f"--{key.replace('_', '-')} needs a --device")
    path = arguments.get("map", None)
    if path is not None and not (path / MAP_FILE if path.is_dir() else path).is_file():
        arguments.add(f"--map {path} is not a map: name a {MAP_FILE} of deepen study map, or its folder")
    arguments.check()
    ratio = arguments.get("tokens_per_parameter", 0.0)
    return AdviseRequest(
        model=model,
        tokens=arguments.get("tokens", ratio * model.parameters_non_embedding),
        batch_tokens=arguments.get("batch_tokens", tokens_per_step(model, model.context)),
        map=path,
        device=arguments.get("device", ""),
        count=arguments["count"],
        mfu=arguments.get("mfu", DEFAULT_MFU),
        price_per_hour=arguments["price_per_hour"],
        as_json="json" in arguments,
    )


def _keep_head_width(arguments: Arguments) -> None:
    """Where only the width changes, change the number of heads with it, so that heads stay as wide."""
    if "width" not in arguments or {"heads", "kv_heads", "head_dim"} & arguments.values.keys():
        return
    model = arguments["model"]
    preset = model if isinstance(model, ModelConfig) else PRESETS[model]
    heads, rest = divmod(arguments["width"], preset.head_width)
    if not rest:
        arguments.values["heads"] = heads
