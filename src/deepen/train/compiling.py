"""torch.compile, block by block, so that a network of another depth needs no new graph."""

import shutil

import torch

from deepen.errors import InvalidValueError
from deepen.model.decoder import Decoder

MODES = {"max-autotune": "max-autotune-no-cudagraphs", "cuda-graphs": "reduce-overhead"}
"""Modes of `torch.compile` by our names."""


def check_compiler(how: str, device: torch.device) -> None:
    """Raise an InvalidValueError where blocks are to be compiled on a CPU that has no C++ compiler."""
    required = how not in ("no", "auto")
    if required and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise InvalidValueError(
            f"{how} needs a C++ compiler on a CPU",
            field="compile",
            value=how,
            remedy="install g++ or clang, or leave `compile` out",
        )


def compile_blocks(model: Decoder, how: str, device: torch.device) -> None:
    """Compile every block of a network, or none. Which parameters require gradients must be set before.

    Args:
        model: the network.
        how: `auto` compiles only on a GPU, where nothing beside torch is needed. `max-autotune` tries more
            kernels; `cuda-graphs` replays the kernels of a block in one launch.
        device: that the network is on.
    """
    if how == "no" or (how == "auto" and device.type != "cuda"):
        return
    if torch.__version__ < "2.12":
        torch._dynamo.reset()  # or blocks that were frozen when they were first compiled are silently not trained
    for block in model.blocks:
        block.compile(mode=MODES.get(how))
