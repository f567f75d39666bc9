"""Build a network from its config, and draw fresh weights for a whole model or for one block."""

import functools
import hashlib
import importlib

import torch
from torch import Tensor

from deepen.model.config import ModelConfig
from deepen.model.decoder import Block, Decoder
from deepen.model.families import FAMILIES


def build(config: ModelConfig, depth: int | None = None, layers: tuple[int, ...] = ()) -> Decoder:
    """Build the network of a config's family.

    Args:
        config: the model at its final depth.
        depth: stored blocks; by default `config.depth`.
        layers: the stored block of each executed layer; empty if each block is executed once.
    """
    _choose_kernels()
    path, name = FAMILIES[config.family].network.split(":")
    network: type[Decoder] = getattr(importlib.import_module(path), name)
    decoder = network(config, depth)
    decoder.layers = layers or decoder.layers
    for module in decoder.modules():
        if isinstance(module, Block):
            module.scale = decoder.branch_scale
    return decoder


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A random generator keyed by seed and purpose: draws for one purpose do not affect another."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def init_block(config: ModelConfig, seed: int, number: int) -> dict[str, Tensor]:
    """Draw fresh weights for one block, by name within the block.

    Every family is initialized like GPT-2: normal(0, `config.init_std`), biases 0, norms 1; output projections are
    normal(0, `config.output_init_std`).

    Args:
        config: the model at its final depth.
        seed: the run's seed.
        number: how many blocks were created before this one; it keys the random stream. In a model that did not
            grow, it is the block's index.
    """
    stream = generator(seed, "block", number)
    outputs = FAMILIES[config.family].output_projections
    return {
        name: _init_parameter(
            name, shape, config.output_init_std if name.startswith(outputs) else config.init_std, stream
        )
        for name, shape in _shapes(config, 1, "blocks.0.").items()
    }


def init_weights(config: ModelConfig, depth: int, seed: int) -> dict[str, Tensor]:
    """Draw fresh weights for a model of `depth` blocks, by parameter name, in fp32 on the CPU."""
    streams = {"head": generator(seed, "head"), "embeddings": generator(seed, "embeddings")}
    outside_blocks = {
        name: _init_parameter(
            name, shape, config.init_std, streams["head" if name.startswith("head") else "embeddings"]
        )
        for name, shape in _shapes(config, 0).items()
    }
    blocks = {
        f"blocks.{index}.{name}": weight
        for index in range(depth)
        for name, weight in init_block(config, seed, index).items()
    }
    return outside_blocks | blocks


@functools.cache
def _choose_kernels() -> None:
    """Call, on one thread, the functions for which MKL chooses a kernel at their first call.

    If two threads of a new process make that first call simultaneously, one of them can get the least accurate
    kernel. A loss then differed by 1e-5, and a resumed run was not bit-identical (pytorch/pytorch#188792).
    """
    for dtype in (torch.float32, torch.float64):
        one = torch.ones(1, dtype=dtype, device="cpu")
        for function in (torch.exp, torch.log, torch.sin, torch.cos, torch.sqrt):
            function(one)


def _shapes(config: ModelConfig, depth: int, prefix: str = "") -> dict[str, torch.Size]:
    """Shapes of the parameters whose names begin with `prefix`, by the rest of the name."""
    with torch.device("meta"):
        state = build(config, depth).state_dict()
    return {name.removeprefix(prefix): tensor.shape for name, tensor in state.items() if name.startswith(prefix)}


def _init_parameter(name: str, shape: torch.Size, std: float, stream: torch.Generator) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape)
    if "norm" in name:
        return torch.ones(shape)
    return torch.empty(shape).normal_(std=std, generator=stream)
