"""Tensors of copied blocks that differ from their source: mixed from two blocks, with noise, or scaled.

They are computed in pieces while they are written, in fp32 (fp64 stays fp64), and rounded to the type of the
source.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO

import torch
from torch import Tensor

from deepen.errors import InvalidValueError
from deepen.growth.layout import GrownBlock
from deepen.interop.hugging_face.fresh import DTYPES
from deepen.interop.hugging_face.shards import Content, OnBytes, Stored, write_all
from deepen.model.build import generator
from deepen.train.checkpoint.tensor_file import StoredTensor

_PIECE = 1 << 22
"""Numbers that are computed at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """Numbers made from stored ones: a mixture, plus noise, moved towards a value.

    Attributes:
        lower: the tensor of the source.
        upper, share: the tensor of the second source and its share; None and 0 if there is none.
        noise: standard deviation of the noise, in units of the root mean square of the mixture.
        stream: names the stream of the noise.
        zero, scale: the result is zero + scale · (numbers - zero); `zero` is the value that makes the block's
            output 0.
    """

    lower: StoredTensor
    upper: StoredTensor | None = None
    share: float = 0.0
    noise: float = 0.0
    stream: str = ""
    zero: float = 0.0
    scale: float = 1.0

    def write_to(self, file: FileIO, size: int, on_bytes: OnBytes) -> None:
        """Compute the numbers and write them, a few million at once."""
        dtype = DTYPES[self.lower.dtype]
        count = size // dtype.itemsize
        std = self.noise * self._root_mean_square(count) if self.noise else 0.0
        stream = generator(0, self.stream)
        for begin in range(0, count, _PIECE):
            numbers = self._mix(begin, min(_PIECE, count - begin))
            if std:
                numbers += torch.empty(len(numbers)).normal_(0.0, std, generator=stream)
            if self.scale != 1:
                numbers = self.zero + self.scale * (numbers - self.zero)
            written = numbers.to(dtype).view(torch.uint8).numpy()
            write_all(file, written.data)
            on_bytes(written.size)

    def _mix(self, begin: int, count: int) -> Tensor:
        numbers = _read(self.lower, begin, count)
        return numbers if self.upper is None else torch.lerp(numbers, _read(self.upper, begin, count), self.share)

    def _root_mean_square(self, count: int) -> float:
        pieces = (self._mix(begin, min(_PIECE, count - begin)) for begin in range(0, count, _PIECE))
        return math.sqrt(sum(float(piece.double().square().sum()) for piece in pieces) / count) if count else 0.0


def _read(tensor: StoredTensor, begin: int, count: int) -> Tensor:
    """Numbers of a stored tensor, in fp32 or fp64."""
    dtype = DTYPES[tensor.dtype]
    with tensor.path.open("rb", buffering=0) as file:
        file.seek(tensor.begin + begin * dtype.itemsize)
        content = bytearray(file.read(count * dtype.itemsize))
    if len(content) != count * dtype.itemsize:
        raise OSError(f"{tensor.path} became shorter while it was read")
    return torch.frombuffer(content, dtype=dtype).to(torch.float64 if dtype == torch.float64 else torch.float32)


def make_computed(
    block: GrownBlock,
    own: Mapping[str, StoredTensor],
    upper: Mapping[str, StoredTensor] | None,
    *,
    noise: float,
    identity: Mapping[str, float],
    stream: str,
) -> dict[str, Content]:
    """The tensors of a copied block that are not those of its source, by name within the block.

    Args:
        block: what the block is.
        own, upper: the tensors of its source, and of its second source if it has one.
        noise: as in `Growth`; it is added to matrices.
        identity: the value of each tensor that would make the block an identity.
        stream: names the streams of random numbers of this block.

    Raises:
        InvalidValueError: the two sources are of different kinds, or a tensor is quantized.
    """
    if upper is not None and {name: tensor.shape for name, tensor in own.items()} != {
        name: tensor.shape for name, tensor in upper.items()
    }:
        raise InvalidValueError(
            f"cannot mix blocks {block.source} and {block.upper_source}, which are of different kinds",
            field="operator",
            remedy="use stack or interleave",
        )
    contents: dict[str, Content] = {}
    for name, tensor in own.items():
        is_matrix = len(tensor.shape) > 1 and not name.endswith("bias")  # GPT-2's causal mask is `attn.bias`
        added = noise if is_matrix else 0.0
        scale = block.residual_scale if name in identity else 1.0
        if upper is None and not added and scale == 1:
            continue
        if tensor.dtype in DTYPES:
            contents[name] = Computed(
                lower=tensor,
                upper=None if upper is None else upper[name],
                share=block.upper_share,
                noise=added,
                stream=f"{stream}.{name}",
                zero=identity.get(name, 0.0),
                scale=scale,
            )
        elif is_matrix:
            raise InvalidValueError(
                f"needs numbers, but {name} is quantized ({tensor.dtype})",
                field="operator",
                remedy="use stack or interleave, without noise or a scale",
            )
        else:
            contents[name] = Stored(tensor)
    return contents
