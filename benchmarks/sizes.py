"""The sizes that benchmarks take on their command lines, and the model of these."""

import argparse

import torch

from deepen.model.config import ModelConfig
from deepen.model.presets import scaled_init_std


def parser_of_sizes(name: str, **other_defaults: int) -> argparse.ArgumentParser:
    """A parser of width, vocabulary, and a step's context, batch (in tokens) and threads."""
    defaults = {"width": 256, "vocab": 8192, "context": 256, "batch_tokens": 2048, "threads": 2} | other_defaults
    parser = argparse.ArgumentParser(description=name)
    for size, default in defaults.items():
        parser.add_argument(f"--{size.replace('_', '-')}", type=int, default=default)
    return parser


def model_of_sizes(given: argparse.Namespace) -> ModelConfig:
    """A GPT-2 of 12 blocks; from here on torch has as many threads as were asked for."""
    torch.set_num_threads(given.threads)
    return ModelConfig(
        name="bench",
        depth=12,
        width=given.width,
        heads=max(2, given.width // 64),
        context=given.context,
        vocab=given.vocab,
        init_std=scaled_init_std(given.width),
    )
