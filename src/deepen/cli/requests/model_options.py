"""The model that a command is about: a preset by name, and sizes that differ from it."""

from dataclasses import replace
from typing import Any

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import one_of, whole_number
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES
from deepen.model.presets import PRESETS, pad_vocab, scaled_init_std

_SIZES = ("family", "depth", "width", "heads", "kv_heads", "mlp")
_HEADS = ("tied", "untied")

MODEL_OPTION = Option(name="model", takes=one_of(PRESETS), help="model, by name")
SIZE_OPTIONS = (
    Option(name="family", takes=one_of(FAMILIES), help="family; this and the following change --model"),
    Option(name="depth", takes=whole_number(minimum=1, maximum=2_000), help="number of blocks"),
    Option(name="width", takes=whole_number(minimum=1, maximum=10**7), help="width of the residual stream"),
    Option(name="heads", takes=whole_number(minimum=1, maximum=10**6), help="attention heads"),
    Option(name="kv-heads", takes=whole_number(minimum=1, maximum=10**6), help="heads of keys and values (llama)"),
    Option(name="mlp", takes=whole_number(minimum=1, maximum=10**8), help="width inside the MLP"),
    Option(
        name="head",
        takes=one_of(_HEADS),
        help="tied or untied: whether the head shares the embedding's matrix",
        fields=("tied",),
    ),
    Option(name="vocab", takes=whole_number(minimum=2, maximum=10**9), help="tokens of the vocabulary"),
)


def parse_model(arguments: Arguments, base: ModelConfig | None = None) -> ModelConfig:
    """The model that a command line names, with the sizes it changes; a model of other sizes is called `custom`.

    Args:
        arguments: the command line.
        base: the model whose sizes change where no `--model` is given; without it, the command's default.

    With a preset of a recipe, the vocabulary is padded as in the study `paper`.
    What follows from a size that changed is computed anew, but grouped key heads stay as many where they can.
    A changed model has as many positions as the request's context. So has one of a family without a table of
    positions whose context is longer than its preset's.
    """
    preset = base if base and "model" not in arguments else PRESETS[arguments["model"]]
    vocab = pad_vocab(preset.vocab) if "preset" in arguments else preset.vocab
    model = replace(preset, vocab=arguments.get("vocab", vocab))
    sizes: dict[str, Any] = arguments.given(_SIZES)
    if "head" in arguments:
        sizes["tied"] = arguments["head"] == "tied"
    context = arguments.get("context", model.context)
    if any(getattr(model, key) != value for key, value in sizes.items()):
        heads, family = sizes.get("heads", model.heads), sizes.get("family", model.family)
        grouped = model.kv_heads < model.heads and heads % model.kv_heads == 0 and family == model.family
        sizes.setdefault("kv_heads", model.kv_heads if grouped else 0)  # 0: computed from the other sizes
        if sizes.keys() & {"width", "family"}:
            sizes.setdefault("mlp", 0)
        if "width" in sizes:
            sizes["init_std"] = scaled_init_std(sizes["width"])
        sizes |= {"name": "custom", "context": context}
    elif not FAMILIES[model.family].has_position_table:
        sizes = {"context": max(context, model.context)}
    changed = arguments.attempt(lambda: replace(model, **sizes))
    return model if changed is None else changed


def describe_sizes(arguments: Arguments, model: ModelConfig) -> str:
    """A model's preset and the sizes that a command line changes, for the name of a folder: nano-depth-6."""
    preset = PRESETS[arguments["model"]]
    given = arguments.given([option.key for option in SIZE_OPTIONS])
    changed = {key: value for key, value in given.items() if getattr(preset, key, None) != value}
    if model.tied == preset.tied:
        changed.pop("head", None)
    return preset.name + "".join(f"-{key.replace('_', '-')}-{value}" for key, value in changed.items())
