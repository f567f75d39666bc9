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
    """The faster precision, and why, in words."""

    precision: str
    reason: str


def choose_gpu_precision(*, has_bf16: bool) -> FasterPrecision:
    """The faster precision of a GPU, which need not be measured: bf16 where it is not emulated."""
    if has_bf16:
        return FasterPrecision("bf16", "this GPU has products in it")
    return FasterPrecision("fp32", "this GPU has no products in bf16")


def warn_of_fp32(precision: str, device: torch.device) -> str:
    """That training in fp32 is slow on a GPU, in words; empty elsewhere. Does not initialize the GPU."""
    if device.type != "cuda" or precision != "fp32":
        return ""
    return "training in fp32: on an A100 or a later GPU, a precision of bf16 is up to ten times as fast"


def faster_precision(model: ModelConfig, context: int, device: torch.device) -> FasterPrecision:
    """Measure a few steps of full training in each precision; on a GPU, choose without measuring."""
    if device.type == "cuda":
        return choose_gpu_precision(has_bf16=torch.cuda.is_bf16_supported(including_emulation=False))
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
    factor = max(fastest.values()) / fastest[best]
    return FasterPrecision(best, f"the other would take {factor:.2f} times as long here")
