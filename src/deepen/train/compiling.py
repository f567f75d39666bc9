"""torch.compile, block by block: a network of another depth then costs no new graph."""

import shutil

import torch

from deepen.model.decoder import Decoder

MODES = {"max-autotune": "max-autotune-no-cudagraphs", "cuda-graphs": "reduce-overhead"}
"""torch's names, where they are others."""


def check_compiler(how: str, device: torch.device) -> None:
    """Raise a ValueError where compiling is asked for on a CPU and there is nothing to do it with."""
    asked = how not in ("no", "auto")
    if asked and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise ValueError(f"--compile {how} needs a C++ compiler on a CPU: install g++ or clang, or leave it out")


def compile_blocks(model: Decoder, how: str, device: torch.device) -> None:
    """Compile every block of a network whose parameters require gradients as they are going to, or none.

    Args:
        how: `auto` compiles on a GPU only, where it needs nothing beside torch; on a CPU it needs a C++ compiler.
            `max-autotune` tries more kernels; `cuda-graphs` replays a block's kernels in one launch.
    """
    if how == "no" or (how == "auto" and device.type != "cuda"):
        return
    if torch.__version__ < "2.12":
        torch._dynamo.reset()  # it silently does not train blocks that were frozen when it saw them first
    for block in model.blocks:
        block.compile(mode=MODES.get(how))
