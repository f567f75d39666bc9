"""torch.compile, block by block, so that a deeper network needs no new graph."""

import shutil

import torch

from deepen.errors import InvalidValueError
from deepen.model.decoder import Decoder

MODES = {"max-autotune": "max-autotune-no-cudagraphs", "cuda-graphs": "reduce-overhead"}
"""The mode of `torch.compile` for each choice that needs one."""


def check_compiler(how: str, device: torch.device) -> None:
    """Raise an InvalidValueError if blocks should be compiled for a CPU but there is no C++ compiler."""
    required = how not in ("no", "auto")
    if required and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise InvalidValueError(
            f"{how} needs a C++ compiler on a CPU",
            field="compile",
            value=how,
            remedy="install g++ or clang, or leave `compile` out",
        )


def compile_blocks(model: Decoder, how: str, device: torch.device) -> None:
    """Compile every block of a network, or none. Set `requires_grad` of its parameters before.

    Args:
        model: the network.
        how: `auto` compiles only on a GPU, where nothing but torch is needed. `max-autotune` tries more kernels;
            `cuda-graphs` replays the kernels of a block in one launch.
        device: the network's device.
    """
    if how == "no" or (how == "auto" and device.type != "cuda"):
        return
    if torch.__version__ < "2.12":
        torch._dynamo.reset()  # or blocks that were frozen when first compiled would silently not be trained
    for block in model.blocks:
        block.compile(mode=MODES.get(how))
