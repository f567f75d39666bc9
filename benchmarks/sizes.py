"""Shared by benchmarks: options for sizes, and the workload with these sizes."""

import argparse

import torch

from deepen.bench.workload import Workload
from deepen.model.config import ModelConfig
from deepen.model.presets import scaled_init_std
from deepen.train.device import pick_device
from deepen.train.settings import TrainSettings


def size_parser(description: str | None, **other_defaults: int) -> argparse.ArgumentParser:
    """A parser with options for width, vocabulary, context and batch in tokens, and threads."""
    defaults = {"width": 256, "vocab": 8192, "context": 256, "batch_tokens": 2048, "threads": 2} | other_defaults
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for size, default in defaults.items():
        parser.add_argument(f"--{size.replace('_', '-')}", type=int, default=default, help=f"default {default}")
    return parser


def build_workload(args: argparse.Namespace, precision: str = "fp32") -> Workload:
    """Steps of a GPT-2 of 12 blocks; also sets the number of torch's threads."""
    torch.set_num_threads(args.threads)
    model = ModelConfig(
        name="bench",
        depth=12,
        width=args.width,
        heads=max(2, args.width // 64),
        context=args.context,
        vocab=args.vocab,
        init_std=scaled_init_std(args.width),
    )
    return Workload(
        model=model,
        context=args.context,
        batch_tokens=args.batch_tokens,
        settings=TrainSettings(precision=precision),
        device=pick_device(),
    )
