"""Find the precision in which full training is faster on this device."""

import math
from typing import NamedTuple

import torch

from deepen.bench.stopwatch import Stopwatch
from deepen.bench.workload import Workload
from deepen.model.config import ModelConfig
from deepen.train.settings import PRECISIONS, TrainSettings

CALIBRATION_TOKENS = 1024
"""Approximate tokens of a step: for small models all steps take a second or two."""

CALIBRATION_STEPS = 4
"""Steps in each precision, including the first, which is slow."""


class FasterPrecision(NamedTuple):
    """The faster precision, and how many times as long a step takes in the other."""

    precision: str
    factor: float


def faster_precision(model: ModelConfig, context: int, device: torch.device) -> FasterPrecision:
    """Measure a few steps of full training in each precision; on a GPU, choose bf16 without measuring."""
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
    stopwatch = Stopwatch.for_device(device)
    fastest = dict.fromkeys(PRECISIONS, math.inf)
    for _ in range(CALIBRATION_STEPS):
        for precision, engine in engines.items():
            seconds = stopwatch.step_seconds(engine, engine.progress.tokens + batch_tokens)
            fastest[precision] = min(fastest[precision], seconds)
    best = min(fastest, key=fastest.__getitem__)
    return FasterPrecision(best, max(fastest.values()) / fastest[best])
