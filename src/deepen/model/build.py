"""Build a network from its config, and draw fresh weights for a whole model or for one block."""

import functools
import hashlib
import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepen.model.config import ModelConfig
from deepen.model.decoder import Block, Decoder
from deepen.model.families import FAMILIES
from deepen.model.lazy import LazyTensor, LazyTensors, select_rows

_Parameter = tuple[str, torch.Size, float]
"""Name, shape and standard deviation of fresh weights."""


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


def draw_block(config: ModelConfig, seed: int, number: int) -> LazyTensors:
    """Fresh weights for one block, by name within the block, each drawn when it is read.

    Every family is initialized like GPT-2: normal(0, `config.init_std`), biases 0, norms 1; output projections are
    normal(0, `config.output_init_std`).

    Args:
        config: the model at its final depth.
        seed: the run's seed.
        number: how many blocks were created before this one; it keys the random stream. In a model that did not
            grow, it is the block's index.
    """
    outputs = FAMILIES[config.family].output_projections
    parameters = tuple(
        (name, shape, config.output_init_std if name.startswith(outputs) else config.init_std)
        for name, shape in _shapes(config, 1, "blocks.0.").items()
    )
    return _draw_in_order(parameters, seed, "block", number)


def init_weights(config: ModelConfig, depth: int, seed: int) -> dict[str, Tensor]:
    """Draw fresh weights for a model of `depth` blocks, by parameter name, in fp32 on the CPU."""
    return dict(draw_weights(config, depth, seed))


def draw_weights(config: ModelConfig, depth: int, seed: int) -> LazyTensors:
    """Fresh weights for a model of `depth` blocks, by parameter name, each drawn when it is read."""
    parameters = [(name, shape, config.init_std) for name, shape in _shapes(config, 0).items()]
    head = tuple(each for each in parameters if each[0].startswith("head"))
    others = tuple(each for each in parameters if not each[0].startswith("head"))
    drawn = _draw_in_order(head, seed, "head").lazy | _draw_in_order(others, seed, "embeddings").lazy
    lazy = {name: drawn[name] for name, *_ in parameters}
    for index in range(depth):
        lazy |= {f"blocks.{index}.{name}": weight for name, weight in draw_block(config, seed, index).lazy.items()}
    return LazyTensors(lazy)


class _RandomStream:
    """The parameters that one random stream draws, one after another.

    Each is drawn when it is asked for: out of order, those before it are drawn again.
    """

    def __init__(self, parameters: tuple[_Parameter, ...], *key: str | int) -> None:
        self._parameters, self._key = parameters, key
        self._rewind()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process draws from the beginning."""
        return _RandomStream, (self._parameters, *self._key)

    def _rewind(self) -> None:
        seed, *purpose = self._key
        self._generator, self._next = generator(int(seed), *purpose), 0

    def draw(self, index: int) -> Tensor:
        """The parameter of this index."""
        if index < self._next:
            self._rewind()
        while True:
            tensor = _init_parameter(*self._parameters[self._next], self._generator)
            self._next += 1
            if self._next > index:
                return tensor


@dataclass(frozen=True, slots=True)
class _Drawn(LazyTensor):
    """A parameter with fresh weights, in fp32."""

    stream: _RandomStream
    index: int
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def load(self, rows: range | None = None) -> Tensor:
        """Draw it."""
        return select_rows(self.stream.draw(self.index), rows)


def _draw_in_order(parameters: tuple[_Parameter, ...], seed: int, *purpose: str | int) -> LazyTensors:
    stream = _RandomStream(parameters, seed, *purpose)
    return LazyTensors({
        name: _Drawn(stream, index, tuple(shape)) for index, (name, shape, _) in enumerate(parameters)
    })  # fmt: skip


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
