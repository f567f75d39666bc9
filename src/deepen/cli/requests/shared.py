"""The options that commands share: a recipe's own, the model, the budget, the rate, and where results go."""

from dataclasses import replace
from typing import Any

from deepen.cli.requests.options import Option, Request, choice, number, only_known, path_of, text_of, whole
from deepen.growth.layout import PLACEMENTS
from deepen.growth.moments import MOMENT_POLICIES
from deepen.growth.operators import OPERATORS
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.model.presets import PRESETS
from deepen.schedule.rate import RATES
from deepen.schedule.recipes import RECIPES
from deepen.schedule.trainable import TRAINABLE_SETS
from deepen.study.define.study import Arm
from deepen.study.store.keep import KEEPS
from deepen.train.optim.spec import STATE_PRECISIONS
from deepen.train.settings import AUTO, COMPILE, ON_SPIKE, PRECISIONS, TrainSettings

_RECIPE_PRESETS = tuple(name for recipe in RECIPES.values() for name in recipe.presets)

RECIPE_OPTIONS = (
    Option(name="stages", read=whole(1, 10_000), help="number of stages (two-phase, staged)"),
    Option(name="partition", read=text_of, help="spread, front, back, floor, or sizes such as 6,3,3"),
    Option(
        name="scope",
        read=choice(TRAINABLE_SETS),
        help=f"trained in phase 1 of a stage: {', '.join(TRAINABLE_SETS)}",
    ),
    Option(name="grow-at", read=number(0, 1), help="share of the tokens before growth (one-shot)"),
    Option(name="start-depth", read=whole(0, 10_000), help="blocks before growth (one-shot, small)"),
    Option(name="operator", read=choice(OPERATORS), help=f"growth operator: {', '.join(OPERATORS)}"),
    Option(name="placement", read=choice(PLACEMENTS), help=f"where new blocks go: {', '.join(PLACEMENTS)}"),
    Option(name="moments", read=choice(MOMENT_POLICIES), help=f"moments at growth: {', '.join(MOMENT_POLICIES)}"),
    Option(name="preset", read=choice(_RECIPE_PRESETS), help=f"of two-phase: {', '.join(_RECIPE_PRESETS)}"),
)

HEADS = ("tied", "untied")
_SIZES = ("family", "depth", "width", "heads", "kv_heads", "mlp")

RUNS = "deepen-runs"
"""Where results go, below the current folder, when --out is left out."""

OUT_OPTION = Option(name="out", read=path_of, help=f"folder of the results (default: below {RUNS}/ here)")
STORE_OPTIONS = (
    Option(
        name="keep",
        read=choice(KEEPS),
        help="; ".join(f"{name}: {what}" for name, what in KEEPS.items()) + " (default last)",
    ),
    Option(name="verify", read=None, help="hash every byte of the states that are there first"),
)
SHARD_OPTION = Option(
    name="shard", read=None, help="under torchrun: divide weights, gradients and moments among its processes"
)
MODEL_OPTION = Option(name="model", read=choice(PRESETS), help=f"{', '.join(PRESETS)}")
SIZE_OPTIONS = (
    Option(
        name="family", read=choice(FAMILIES), help=f"{', '.join(FAMILIES)}; this and what follows change --model"
    ),
    Option(name="depth", read=whole(1, 2_000), help="blocks"),
    Option(name="width", read=whole(1, 10**7), help="width of the residual stream"),
    Option(name="heads", read=whole(1, 10**6), help="attention heads"),
    Option(name="kv-heads", read=whole(1, 10**6), help="heads of keys and values (llama)"),
    Option(name="mlp", read=whole(1, 10**8), help="width inside the MLP"),
    Option(name="head", read=choice(HEADS), help="tied or untied: whether the head is the embedding's matrix"),
)
VOCAB_OPTION = Option(
    name="vocab", read=whole(2, 10**9), help="tokens of the vocabulary, where not the model's own"
)
BUDGET_OPTIONS = (
    Option(
        name="tokens",
        read=whole(1),
        help="the baseline's tokens; the arm gets the FLOPs of full training for them",
    ),
    Option(name="steps", read=whole(1), help="the same in steps"),
    Option(name="batch-tokens", read=whole(1, 10**12), help="tokens of a step"),
    Option(name="context", read=whole(1, 10**9), help="tokens of a sequence"),
)
MOMENT_PRECISION_OPTION = Option(
    name="moment-precision",
    read=choice(STATE_PRECISIONS),
    help="in which AdamW's moments are kept: fp32 (default), or bf16, half the memory",
)
STEP_OPTIONS = (
    Option(
        name="precision",
        read=choice((*PRECISIONS, AUTO)),
        help="fp32, bf16, or auto: the faster one here, found by a few steps",
    ),
    Option(name="compile", read=choice(COMPILE), help=f"of blocks: {', '.join(COMPILE)}"),
    MOMENT_PRECISION_OPTION,
)
SPIKE_OPTION = Option(
    name="on-spike",
    read=choice(ON_SPIKE),
    help="a step whose loss jumps: warn (default), skip its update, or stop",
)
SETTINGS = ("precision", "compile", "on_spike", "activation_checkpointing")
"""Options that are settings of a step."""
RATE_OPTIONS = (
    Option(name="lr", read=number(0), help="peak learning rate"),
    Option(name="rate", read=choice(RATES), help="shape of the learning rate: wsd (default), cosine, constant"),
)


def settings_of(request: Request, settings: TrainSettings) -> TrainSettings:
    """The settings with what a request changes of them."""
    changed = {key: request.values[key] for key in SETTINGS if key in request.values}
    if "moment_precision" in request.values:
        changed["optimizer"] = replace(settings.optimizer, state_precision=request.values["moment_precision"])
    return replace(settings, **changed)


def check_shard(request: Request, world: object | None) -> None:
    """Add a problem where a model is to be divided and there is no other process."""
    if "shard" in request.values and world is None:
        request.problems.append(
            "--shard divides a model among processes, here is one: torchrun --nproc-per-node=N -m deepen ..."
        )


_AMPLE = 10**12


def arm_of(request: Request, model: ModelConfig) -> Arm:
    """The arm that a request describes; options its recipe or its model does not have become problems."""
    options: dict[str, Any] = {
        option.key: request.values[option.key]
        for option in RECIPE_OPTIONS
        if option.key != "preset" and option.key in request.values
    }
    preset = request.get("preset")
    if request.name in RECIPES:
        recipe = RECIPES[request.name]
        own = [option.key for option in RECIPE_OPTIONS if option.key in recipe.options]
        request.problems += only_known(options, own, f"recipe {request.name}")
        options = {key: value for key, value in options.items() if key in own}
        if preset and preset not in recipe.presets:
            having = ", ".join(name for name, other in RECIPES.items() if other.presets)
            request.problems.append(f"--preset: recipe {request.name} has none; only {having} has presets")
        elif preset:
            options = {**recipe.presets[preset], **options}
        # whether it fits the model, whatever is wrong with the budget
        request.attempt(lambda: recipe.schedule(model, 2 * _AMPLE, _AMPLE, options))
    return Arm(name=request.name, recipe=request.name, options=options)


def model_of(request: Request, default: str) -> ModelConfig:
    """The model a request names, with the sizes it changes; a model of other sizes is called `custom`.

    What follows from a size that changed is worked out anew, but grouped key heads stay as many where they can.
    A changed model has as many positions as the request's context; so has a llama whose context is longer
    than its preset's, because rotary positions are no table.
    """
    preset = PRESETS[request.get("model", default)]
    model = replace(preset, vocab=request.get("vocab", preset.vocab))
    sizes: dict[str, Any] = {key: request.values[key] for key in _SIZES if key in request.values}
    if "head" in request.values:
        sizes["tied"] = request.values["head"] == "tied"
    context = request.get("context", model.context)
    if any(getattr(model, key) != value for key, value in sizes.items()):
        heads, family = sizes.get("heads", model.heads), sizes.get("family", model.family)
        grouped = model.kv_heads < model.heads and heads % model.kv_heads == 0 and family == model.family
        sizes.setdefault("kv_heads", model.kv_heads if grouped else 0)  # 0: what follows from the rest
        if sizes.keys() & {"width", "family"}:
            sizes.setdefault("mlp", 0)
        sizes |= {"name": "custom", "context": context}
    elif not FAMILIES[model.family].has_position_table:
        sizes = {"context": max(context, model.context)}
    changed: ModelConfig | None = request.attempt(lambda: replace(model, **sizes))
    return changed or model


def tokens_of(request: Request, batch_tokens: int, default: int) -> int:
    """The budget in tokens."""
    if "tokens" in request.values and "steps" in request.values:
        request.problems.append("--tokens and --steps both set the budget: give one of them")
    if "steps" in request.values:
        return int(request.values["steps"]) * batch_tokens
    return int(request.get("tokens", default))
