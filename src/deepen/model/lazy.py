"""Tensors that are read, drawn or computed only when they are needed: a whole one, or some of its rows.

    weights = LazyTensors({"norm.weight": stored})    # no number is read
    weights["norm.weight"]                            # reads the tensor, and keeps no copy
    weights.lazy["norm.weight"].load(range(2, 4))     # reads two rows

A process that holds a share of a model loads it in this way: it never has more than that share and the tensors
from which one more is computed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class LazyTensor(ABC):
    """A tensor that is not in memory. It can be sent to another process, which then reads or computes it.

    Attributes:
        shape: the shape of the whole tensor.
        dtype: the type of its numbers.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype

    @abstractmethod
    def load(self, rows: range | None = None) -> Tensor:
        """The tensor on the CPU, or consecutive rows of it, in memory of its own."""

    def dim(self) -> int:
        """The number of its dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class LazyTensors(Mapping[str, Tensor]):
    """Tensors by name, each of which is read whenever it is asked for."""

    def __init__(self, lazy: Mapping[str, LazyTensor]) -> None:
        self.lazy = dict(lazy)

    def __getitem__(self, name: str) -> Tensor:
        """Read one tensor."""
        return self.lazy[name].load()

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self.lazy)

    def __len__(self) -> int:
        """The number of tensors."""
        return len(self.lazy)


@dataclass(frozen=True, slots=True)
class _Computed(LazyTensor):
    """See `compute_later`."""

    function: Callable[..., Tensor]
    sources: Sequence[LazyTensor]
    shape: tuple[int, ...]
    dtype: torch.dtype

    def load(self, rows: range | None = None) -> Tensor:
        """Read the sources and compute."""
        return select_rows(self.function(*(source.load() for source in self.sources)), rows)


def compute_later(function: Callable[..., Tensor], *sources: LazyTensor) -> LazyTensor:
    """A tensor of the first source's shape and type that a function computes from the sources.

    The function may change its first argument. It always gets whole tensors, because a kernel need not give the
    same bits for a part of a tensor as for all of it.
    """
    return _Computed(function, sources, sources[0].shape, sources[0].dtype)


def select_rows(whole: Tensor, rows: range | None) -> Tensor:
    """A copy of consecutive rows of a tensor, so that the rest can be freed; the tensor itself for None."""
    return whole if rows is None else whole[rows.start : rows.stop].clone()


def unread(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor | LazyTensor]:
    """The tensors by name, none of which is read."""
    return tensors.lazy if isinstance(tensors, LazyTensors) else tensors
