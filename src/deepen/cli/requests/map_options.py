"""`deepen study map`: a study like `fair` for each of several models."""

import re

from deepen.cli.requests.command import Option
from deepen.cli.requests.value_types import ValueType, comma_separated
from deepen.errors import nearest
from deepen.model.config import ModelConfig
from deepen.model.presets import PRESETS
from deepen.study.map.define import DEFAULT_MODELS, sized_model

MAP = "map"
"""The name of the map among the studies."""

SET_BY_MODELS = ("model", "depth", "width", "heads", "kv_heads", "mlp", "head_dim", "tokens")
"""Options of `deepen study` that a map does not take, because they would be the same for all models."""


def _read_model(text: str) -> ModelConfig:
    """A preset by name, or one of so many blocks and such a width: 4x64."""
    if text in PRESETS:
        return PRESETS[text]
    sizes = re.fullmatch(r"(\d{1,4})x(\d{1,6})", text)
    if sizes is None:
        raise ValueError(
            f"{text!r} is unknown{nearest(text, PRESETS)}: write DEPTHxWIDTH, such as 4x64, or a preset"
        )
    try:
        return sized_model(int(sizes[1]), int(sizes[2]))
    except ValueError as error:
        raise ValueError(f"cannot be {text}: {error}") from None


MODELS_OPTION = Option(
    name="models",
    takes=comma_separated(ValueType(metavar="MODEL", read=_read_model, names=tuple(PRESETS))),
    help="models of the map, as depth x width or by name, instead of --model",
    default_help=",".join(model.name for model in DEFAULT_MODELS),
    owners=(MAP,),
)
