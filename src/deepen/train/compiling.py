"""torch.compile, block by block, so that a deeper network needs no new graph. On a GPU the loss is compiled too.

With `cuda-graphs`, what a block computes is in memory that later replays overwrite. torch lets them do so when a
compiled function is called and no backward pass is pending, which is wrong in two places: between the blocks of a
pass without gradients (evaluation, a frozen prefix), so a network marks where its passes begin
(`Decoder.replays_graphs`); and between micro-batches, whose sum of gradients has to last (`keep_gradients`).
"""

import logging
import os
import shutil
import sysconfig
from functools import cache
from pathlib import Path

import torch
from torch.utils._triton import has_triton

from deepen.errors import InvalidValueError
from deepen.model.decoder import Decoder
from deepen.model.logit_gradients import Fused
from deepen.train.settings import AUTO, CUDA_GRAPHS, TrainSettings, check_cuda_graphs

_log = logging.getLogger(__name__)

MODES = {"max-autotune": "max-autotune-no-cudagraphs", CUDA_GRAPHS: "reduce-overhead"}
"""The mode of `torch.compile` for each choice that needs one."""


MAX_GRAPHS = 32
"""Graphs that torch may make of a block before it runs the rest eagerly: one for each combination of what is
trained, batch shape, and training or evaluation. A study of many kinds of phases exceeds torch's limit of 8."""


def check_compiler(settings: TrainSettings, device: torch.device, *, sharded: bool = False) -> None:
    """Raise an InvalidValueError if blocks cannot be compiled as requested.

    Args:
        settings: settings of a step.
        device: the network's device. A CPU needs a C++ compiler.
        sharded: as in `check_cuda_graphs`.
    """
    how = settings.compile
    required = how not in ("no", AUTO)
    if required and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise InvalidValueError(
            f"{how} needs a C++ compiler on a CPU",
            field="compile",
            value=how,
            remedy="install g++ or clang, or leave `compile` out",
        )
    check_cuda_graphs(settings, sharded=sharded)


def choose_mode(how: str, device: torch.device) -> str:
    """How blocks are compiled on a device: `how`, where `auto` becomes `yes` or `no`.

    It becomes `yes` on a GPU, where the first steps of each kind of phase take longer, and all others less time.
    It becomes `no` on a CPU, where compiling gains little, and where kernels for the GPU cannot be compiled, which
    is logged.
    """
    if how != AUTO:
        return how
    return "yes" if device.type == "cuda" and can_compile_for_gpu() else "no"


@cache
def can_compile_for_gpu() -> bool:
    """Whether what Triton needs is here; logs what is missing, once."""
    missing = missing_for_gpu(has_triton=has_triton())
    if missing:
        _log.warning("blocks are not compiled, so training is slower: %s", missing)
    return not missing


def missing_for_gpu(*, has_triton: bool) -> str:
    """What is missing to compile kernels for a GPU, and what to do; empty if nothing is.

    Args:
        has_triton: whether Triton is installed and knows the GPU.
    """
    if not has_triton:
        return "Triton is not installed, or does not know this GPU"
    if "CC" not in os.environ and not any(map(shutil.which, ("gcc", "clang"))):
        return "Triton needs a C compiler: install gcc or clang"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Triton needs Python's headers: install those of this Python (python3-dev)"
    return ""


def compile_network(model: Decoder, how: str, device: torch.device) -> None:
    """Compile every block of a network, and on a GPU its loss. Set `requires_grad` of its parameters before.

    Args:
        model: the network.
        how: `no`; `auto`, see `choose_mode`; `yes` compiles; `max-autotune` tries more kernels; `cuda-graphs`
            replays the kernels of a block in one launch.
        device: the network's device.
    """
    how = choose_mode(how, device)
    if how == "no":
        return
    if torch.__version__ < "2.12":
        torch._dynamo.reset()  # or blocks that were frozen when first compiled would silently not be trained
    torch._dynamo.config.recompile_limit = MAX_GRAPHS
    # DDP would have each block cut where its buckets end. A block is small enough to overlap with communication.
    torch._dynamo.config.optimize_ddp = False
    if device.type == "cuda":
        model.logit_gradients = Fused()
        model.replays_graphs = how == CUDA_GRAPHS
    for block in model.blocks:
        block.compile(mode=MODES.get(how))


def keep_gradients(model: Decoder) -> None:
    """Copy gradients out of the memory of CUDA graphs, which the next forward pass overwrites.

    After this, backward passes add to the copies in place.
    """
    if model.replays_graphs:
        for parameter in model.blocks.parameters():
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()
