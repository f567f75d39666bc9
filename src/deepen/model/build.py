"""A network from its config, and fresh weights for a model or for one more block."""

import functools
import hashlib
import importlib
import math

import torch
from torch import Tensor

from deepen.model.config import ModelConfig
from deepen.model.decoder import Decoder
from deepen.model.families import FAMILIES


def build(config: ModelConfig, depth: int | None = None) -> Decoder:
    """The network of a config's family, `depth` blocks deep (`config.depth` where left out)."""
    _choose_kernels()
    module, name = FAMILIES[config.family].network.split(":")
    network: type[Decoder] = getattr(importlib.import_module(module), name)
    return network(config, depth)


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A random stream for each purpose, so that no draw depends on what was drawn before it."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def init_block(config: ModelConfig, seed: int, number: int) -> dict[str, Tensor]:
    """Fresh weights of one block, by name within the block.

    As GPT-2, for every family: normal(`config.init_std`), biases 0, norms 1; output projections are scaled by
    (2·depth)^-½. That depth is the *final* one, so a block that is added late has the same distribution as one
    that was there from the start.

    Args:
        config: the model at its final depth.
        seed: of the run.
        number: how many blocks were made before this one, the key of its random stream; in a model that did not
            grow, its index.
    """
    draw = generator(seed, "block", number)
    scaled_std = config.init_std / math.sqrt(2 * config.depth)
    scaled = FAMILIES[config.family].output_projections
    return {
        name: _fresh(name, shape, scaled_std if name.startswith(scaled) else config.init_std, draw)
        for name, shape in _shapes(config, 1, "blocks.0.").items()
    }


def init_weights(config: ModelConfig, depth: int, seed: int) -> dict[str, Tensor]:
    """Fresh weights of a whole model of `depth` blocks, by parameter name, fp32 on the CPU."""
    streams = {"head": generator(seed, "head"), "embeddings": generator(seed, "embeddings")}
    around = {
        name: _fresh(name, shape, config.init_std, streams["head" if name.startswith("head") else "embeddings"])
        for name, shape in _shapes(config, 0).items()
    }
    blocks = {
        f"blocks.{index}.{name}": weight
        for index in range(depth)
        for name, weight in init_block(config, seed, index).items()
    }
    return around | blocks


@functools.cache
def _choose_kernels() -> None:
    """Call once, on one thread, the functions for which MKL chooses a kernel at their first call.

    Where two threads of a new process make that first call at the same time, one of them can get the least
    accurate kernel: a loss was off by 1e-5, and a continued run not bit-identical (pytorch/pytorch#188792).
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.ones(1, dtype=dtype, device="cpu")
        for function in (torch.exp, torch.log, torch.sin, torch.cos, torch.sqrt):
            function(one)


def _shapes(config: ModelConfig, depth: int, prefix: str = "") -> dict[str, torch.Size]:
    """Shapes of the parameters whose name begins with `prefix`, by the rest of the name."""
    with torch.device("meta"):
        state = build(config, depth).state_dict()
    return {name.removeprefix(prefix): tensor.shape for name, tensor in state.items() if name.startswith(prefix)}


def _fresh(name: str, shape: torch.Size, std: float, draw: torch.Generator) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape)
    if name.startswith("norm"):
        return torch.ones(shape)
    return torch.empty(shape).normal_(std=std, generator=draw)
