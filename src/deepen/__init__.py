"""deepen: train language models by growing them deeper, and find out, honestly, whether that pays."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LIBRARY = {
    "ModelConfig": "deepen.model.config",
    "Phase": "deepen.schedule.phase",
    "Growth": "deepen.growth.spec",
    "Schedule": "deepen.schedule.phase",
    "Trainable": "deepen.schedule.trainable",
    "Ledger": "deepen.compute.ledger",
    "grow": "deepen.growth.grow",
    "TrainState": "deepen.train.state",
    "Study": "deepen.study.define.study",
    "Arm": "deepen.study.define.study",
}

__all__ = [
    "Arm",
    "Growth",
    "Ledger",
    "ModelConfig",
    "Phase",
    "Schedule",
    "Study",
    "TrainState",
    "Trainable",
    "grow",
]


def __getattr__(name: str) -> Any:
    """The library's public names, imported when first used, so that planning never waits for torch."""
    if name in _LIBRARY:
        return getattr(import_module(_LIBRARY[name]), name)
    raise AttributeError(f"module 'deepen' has no attribute {name!r}")
