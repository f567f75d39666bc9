"""The pilot of a plan: the same recipe on a small model, trained beside its baseline.

A plan states what a recipe saves at equal tokens, but not whether its loss is as good. The pilot measures that: a
command that runs on two CPU cores, with the recipe's own options, a model of as many blocks, and as many tokens
for each parameter.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from deepen.cli.requests import train
from deepen.cli.requests.optimizer_options import OPTIMIZER_OPTION
from deepen.cli.requests.parser import Arguments, RequestError
from deepen.cli.requests.rate_options import RATE_OPTIONS
from deepen.cli.requests.recipe_options import PRESET_OPTION
from deepen.compute.plan import Plan
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.schedule.recipe import record_recipe
from deepen.schedule.recipes import get_recipe
from deepen.study.compile.study_plan import plan_study

SEEDS = 3
"""Seeds of a pilot: with fewer, its intervals are too wide to decide anything."""

TOKENS_PER_PARAMETER = (20, 100)
"""The fewest and the most tokens of a pilot for each non-embedding parameter."""

FLOPS_PER_SECOND = 3.4e10
"""Of small models on two CPU cores: the quickstart's 7.5e12 FLOPs took 219 s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pilot:
    """A pilot.

    Attributes:
        command: the command line that runs it.
        model: the name of its model's preset.
        flops: the most FLOPs that it takes; training that its runs share is counted for each of them.
    """

    command: str
    model: str
    flops: int

    @property
    def seconds(self) -> float:
        """Estimated seconds on two CPU cores."""
        return self.flops / FLOPS_PER_SECOND


def recipe_words(arguments: Arguments, options: Sequence[str]) -> tuple[str, ...]:
    """The words of a command line that name its recipe, the options of the recipe, the rate, and the optimizer."""
    words = [arguments.argument]
    passed_on = {*options, *(option.key for option in (PRESET_OPTION, OPTIMIZER_OPTION, *RATE_OPTIONS))}
    for option in arguments.command.options:
        if option.key in arguments and option.key in passed_on:
            words += option.write(arguments[option.key])
    return tuple(words)


def shrink(big: ModelConfig) -> tuple[ModelConfig, list[str]]:
    """A small model with the blocks and the parametrization of a model, and the words that name it.

    It is the preset of the model's family that is the smallest with as many blocks.
    """
    presets = [preset for preset in PRESETS.values() if preset.family == big.family]
    small = min(presets, key=lambda preset: replace(preset, depth=big.depth).parameters_non_embedding)
    words = ["--model", small.name]
    words += ["--depth", str(big.depth)] if big.depth != small.depth else []
    words += ["--parametrization", big.parametrization] if big.parametrization != small.parametrization else []
    return replace(small, depth=big.depth, parametrization=big.parametrization), words


def design_pilot(plan: Plan, recipe: Sequence[str]) -> Pilot | None:
    """The pilot of a plan; None if the recipe cannot be trained on a small model.

    Args:
        plan: the plan.
        recipe: the words that name its recipe, the options of the recipe, and the optimizer.
    """
    big = plan.request.model
    model, model_words = shrink(big)
    fewest, most = TOKENS_PER_PARAMETER
    ratio = plan.baseline.schedule.tokens / big.parameters_non_embedding
    tokens = min(max(ratio, fewest), most) * model.parameters_non_embedding
    share = tokens / plan.baseline.schedule.tokens
    try:
        words = [*_scale_lengths(recipe, share), "--against", _name_baseline(plan), *model_words]
        words += ["--tokens", str(max(1, round(tokens / 1e5)) * 100_000), "--seeds", str(SEEDS)]
        study = train.parse(words).study
        flops = sum(mark.flops for mark in plan_study(study).marks) * len(study.seeds)
    except (RequestError, ValueError):
        return None
    return Pilot(command=shlex.join(["deepen", "train", *words]), model=model.name, flops=flops)


def _scale_lengths(words: Sequence[str], share: float) -> list[str]:
    """The words with lengths in tokens, such as `--rewarm-tokens 100000`, for a budget `share` times as large."""
    scaled = [*words[:1]]
    for flag, word in pairwise(words):
        scaled.append(str(max(1, round(int(word) * share))) if flag.endswith("-tokens") else word)
    return scaled


def _name_baseline(plan: Plan) -> str:
    """The baseline as a command line names it."""
    baseline = get_recipe(plan.request.against)
    if baseline.is_part_of_deepen:
        return baseline.name
    recorded = record_recipe(baseline.build)
    return f"{recorded.file}:{recorded.function}"
