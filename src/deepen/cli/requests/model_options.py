"""The model that a command is about: a preset by name or a Hugging Face folder, and sizes that differ from it."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import Completion, ValueType, number, one_of, read_path, whole_number
from deepen.errors import nearest
from deepen.interop.checkpoint import read_hugging_face_checkpoint
from deepen.interop.hugging_face.config import parse_config
from deepen.model.config import ModelConfig
from deepen.model.families import FAMILIES, NORM_POSITIONS, QK_NORMS
from deepen.model.parametrization import PARAMETRIZATIONS
from deepen.model.presets import PRESETS, pad_vocab, scaled_init_std

_SIZES = (
    "family", "depth", "width", "heads", "kv_heads", "mlp",
    "head_dim", "biases", "qk_norm", "norm_position", "rope_base", "parametrization",
)  # fmt: skip
_HEADS = ("tied", "untied")


def _read_model(text: str) -> ModelConfig:
    """A preset by name, or the model that a folder's config.json describes."""
    if text in PRESETS:
        return PRESETS[text]
    folder = read_path(text)
    if not folder.is_dir():
        remedy = f"use {', '.join(PRESETS)}, or a folder with a config.json"
        raise ValueError(f"{text!r} is unknown{nearest(text, PRESETS)}: {remedy}")
    if not (folder / "config.json").is_file():
        raise ValueError(f"{text!r} has no config.json: name a folder in Hugging Face's format")
    try:
        return parse_config(read_hugging_face_checkpoint(folder).config, folder.absolute().name)
    except ValueError as error:
        raise ValueError(f"cannot be {text}: {error}") from None


_MODEL = ValueType(metavar="NAME|FOLDER", read=_read_model, names=tuple(PRESETS), completion=Completion.FOLDERS)
MODEL_OPTION = Option(
    name="model", takes=_MODEL, help="model, by name or from a Hugging Face folder's config.json"
)
_AS_MODEL = "as --model has"


def _size(name: str, counted: str, minimum: int, maximum: int) -> Option:
    """An option for a size of the model."""
    takes = whole_number(minimum=minimum, maximum=maximum)
    return Option(name=name, takes=takes, help=f"number of {counted}", default_help=_AS_MODEL)


def _choice(name: str, names: Iterable[str], help: str) -> Option:
    """An option for a part of the model that has a few kinds."""
    return Option(name=name, takes=one_of(dict.fromkeys(names)), help=help, default_help=_AS_MODEL)


SIZE_OPTIONS = (
    Option(
        name="family",
        takes=one_of(FAMILIES),
        help="family; this and the following change --model",
        default_help=_AS_MODEL,
    ),
    _size("depth", "blocks", 1, 2_000),
    _size("width", "channels of the residual stream", 1, 10**7),
    _size("heads", "attention heads", 1, 10**6),
    _size("kv-heads", "heads of keys and values (llama)", 1, 10**6),
    _size("mlp", "channels inside the MLP", 1, 10**8),
    _size("head-dim", "channels of one attention head (llama)", 1, 10**6),
    _choice("biases", (name for family in FAMILIES.values() for name in family.biases), "linears with biases"),
    _choice("qk-norm", QK_NORMS, "what norms of queries and keys span (llama)"),
    _choice("norm-position", NORM_POSITIONS, "norms before or after attention and MLP (llama)"),
    Option(
        name="rope-base",
        takes=number(metavar="BASE", above=1.0),
        help="base of rotary positions (llama)",
        default_help=_AS_MODEL,
    ),
    Option(
        name="head",
        takes=one_of(_HEADS),
        help="tied or untied: whether the head shares the embedding's matrix",
        default_help=_AS_MODEL,
        fields=("tied",),
    ),
    _choice("parametrization", PARAMETRIZATIONS, "how scales depend on the depth"),
    _size("vocab", "tokens in the vocabulary", 2, 10**9),
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
    preset = base if base and "model" not in arguments else _named_model(arguments)
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
    preset = _named_model(arguments)
    given = arguments.given([option.key for option in SIZE_OPTIONS])
    changed = {key: value for key, value in given.items() if getattr(preset, key, None) != value}
    if model.tied == preset.tied:
        changed.pop("head", None)
    return preset.name + "".join(f"-{key.replace('_', '-')}-{value}" for key, value in changed.items())


def _named_model(arguments: Arguments) -> ModelConfig:
    """The value of `--model`, whose default is a preset's name."""
    model = arguments["model"]
    return model if isinstance(model, ModelConfig) else PRESETS[model]
