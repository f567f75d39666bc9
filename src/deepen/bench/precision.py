"""Which precision full training is faster in on this device."""

import math
from typing import NamedTuple

import torch

from deepen.bench.workload import Workload, step_seconds
from deepen.model.config import ModelConfig
from deepen.train.settings import PRECISIONS, TrainSettings

CALIBRATION_TOKENS = 1024
"""Tokens of a step, about: a second or two of steps for small models."""

CALIBRATION_STEPS = 4
"""Steps in each precision, the first to warm up."""


class FasterPrecision(NamedTuple):
    """The precision that is faster, and how many times as long the other takes."""

    precision: str
    factor: float


def faster_precision(model: ModelConfig, context: int, device: torch.device) -> FasterPrecision:
    """The precision in which full training is faster, by a few steps in each; bf16 on a GPU without measuring."""
    if device.type == "cuda":
        return FasterPrecision("bf16", math.inf)
    batch_tokens = max(1, CALIBRATION_TOKENS // context) * context
    engines = {
        precision: Workload(
            model=model,
            context=context,
            batch_tokens=batch_tokens,
            settings=TrainSettings(precision=precision),
            device=device,
        ).full_training()
        for precision in PRECISIONS
    }
    fastest = dict.fromkeys(PRECISIONS, math.inf)
    for _ in range(CALIBRATION_STEPS):
        for precision, engine in engines.items():
            seconds = min(step_seconds(engine, engine.progress.tokens + batch_tokens))
            fastest[precision] = min(fastest[precision], seconds)
    best = min(fastest, key=fastest.__getitem__)
    return FasterPrecision(best, max(fastest.values()) / fastest[best])
