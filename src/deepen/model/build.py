"""A network from its config, and fresh weights for it or for one more block."""

import functools
import hashlib
import math

import torch
from torch import Tensor

from deepen.model.config import ModelConfig
from deepen.model.decoder import OUTPUT_PROJECTIONS, Decoder
from deepen.model.gpt2 import GPT2
from deepen.model.llama import Llama

_NETWORKS: dict[str, type[GPT2] | type[Llama]] = {"gpt2": GPT2, "llama": Llama}


def build(config: ModelConfig, depth: int | None = None) -> Decoder:
    """The network of a config's family, `depth` blocks deep (`config.depth` where left out)."""
    _choose_kernels()
    return _NETWORKS[config.family](config, depth)


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A random stream of its own for each purpose, so that no draw depends on the path that led to it."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def init_block(config: ModelConfig, seed: int, number: int) -> dict[str, Tensor]:
    """Fresh weights of one block, by name within the block.

    As GPT-2, for every family: normal(`config.init_std`), biases 0, norms 1; output projections ×
    (2·depth)^-½, where depth is the *final* depth, so that a block born late is like one that was there from
    the start.

    Args:
        number: order of birth of the block, the key of its random stream; in a model that was made whole,
            its index.
    """
    draw = generator(seed, "block", number)
    shrunk = config.init_std / math.sqrt(2 * config.depth)
    return {
        name: _fresh(name, shape, shrunk if name.startswith(OUTPUT_PROJECTIONS) else config.init_std, draw)
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
    """Call once, on one thread, the functions for which MKL picks a kernel when they are first called.

    Where two threads of a new process make that call together, one may get the least accurate kernel, that one
    time: a loss was off by 1e-5, and a continued run no longer the same to the bit (pytorch/pytorch#188792).
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
