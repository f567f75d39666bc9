"""Fresh weights for a block of any decoder, shaped as a block that it has.

Matrices are drawn from a normal distribution with the standard deviation in the config, divided by √(2 · depth)
for output projections, as in GPT-2. Biases are zero. Everything else, such as the gains of norms, is as in the
block that lends its shapes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from math import sqrt
from typing import Any

import torch

from deepen.errors import InvalidValueError
from deepen.interop.hugging_face.block_identity import is_output_projection
from deepen.interop.hugging_face.shards import Content, OnBytes, Repeated, Stored, write_all
from deepen.model.build import generator
from deepen.train.checkpoint.tensor_file import StoredTensor

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The types in which numbers can be made or changed."""
_STD_KEYS = ("initializer_range", "init_std")
_DEFAULT_STD = 0.02
_PIECE = 1 << 22
"""Numbers that are drawn at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """Numbers from a normal distribution with mean 0, by a stream of their own."""

    std: float
    dtype: str
    stream: str

    def write_to(self, file: FileIO, size: int, on_bytes: OnBytes) -> None:
        """Draw the numbers and write them, a few million at once."""
        dtype = DTYPES[self.dtype]
        stream = generator(0, self.stream)
        left = size // dtype.itemsize
        drawn = torch.empty(min(left, _PIECE))
        piece = torch.empty(len(drawn), dtype=dtype)  # the numbers themselves are drawn in fp32
        while left:
            count = min(left, _PIECE)
            piece[:count].copy_(drawn[:count].normal_(0.0, self.std, generator=stream))
            write_all(file, piece[:count].view(torch.uint8).numpy().data)
            on_bytes(count * dtype.itemsize)
            left -= count


def find_std(section: Mapping[str, Any]) -> float:
    """The standard deviation of fresh weights that a config has, or the usual one."""
    values = (section.get(key) for key in _STD_KEYS)
    return next((value for value in values if isinstance(value, float) and value > 0), _DEFAULT_STD)


def make_fresh(name: str, like: StoredTensor, *, std: float, depth: int, stream: str) -> Content:
    """The content of a tensor of a fresh block.

    Args:
        name: its name within the block.
        like: the same tensor of the block that lends its shapes.
        std: standard deviation of matrices.
        depth: blocks of the grown model.
        stream: names the stream of random numbers.

    Raises:
        InvalidValueError: the block is quantized.
    """
    if like.dtype not in DTYPES and len(like.shape) > 1 and name.endswith("weight"):
        raise InvalidValueError(
            f"draws fresh weights, but {name} is quantized ({like.dtype})",
            field="operator",
            remedy="use stack or interleave",
        )
    is_bias = name.endswith("bias")
    if is_bias and len(like.shape) == 1:
        return Repeated(b"\0")
    if is_bias or len(like.shape) < 2 or like.dtype not in DTYPES:
        return Stored(like)
    return Drawn(std=std / sqrt(2 * depth) if is_output_projection(name) else std, dtype=like.dtype, stream=stream)
