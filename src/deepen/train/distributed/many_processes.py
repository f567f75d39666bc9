"""What all placements of many processes do: rows of a batch, sums, and values that come from rank 0.

Shapes: b sequences, t tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepen.model.decoder import Decoder
from deepen.train.placement import MicroBatch


class ManyProcesses(ABC):
    """The common part of replicated and sharded models: rows, sums, and values that come from rank 0."""

    def __init__(self, device: torch.device, rank: int, size: int) -> None:
        self.device, self.gradient_scale = device, size
        self._rank, self._size = rank, size

    def load_and_wrap(self, model: Decoder, weights: Mapping[str, Tensor]) -> nn.Module:
        """Load weights into a model on the meta device; returns the module to call for a loss."""
        self._divide(model)
        model.to_empty(device=self.device)
        for name, parameter in model.named_parameters():
            parameter.detach().copy_(self.load(weights, name, parameter))
        return self._wrap(model)

    @abstractmethod
    def _divide(self, model: Decoder) -> None:
        """Shard a model on the meta device, if processes hold shards."""

    @abstractmethod
    def _wrap(self, model: Decoder) -> nn.Module:
        """The module to call for a loss."""

    @abstractmethod
    def load(self, tensors: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
        """A copy of a tensor on the device of `like`; if `like` is a shard, the matching shard."""

    def _broadcast(self, value: Tensor, device: torch.device) -> Tensor:
        copy = self._copy_on_rank_0(value, device)
        dist.broadcast(copy, 0)
        return copy

    def _copy_on_rank_0(self, value: Tensor, device: torch.device) -> Tensor:
        """A copy of the value on rank 0; elsewhere, uninitialized memory of its shape and type."""
        if self._rank == 0:
            return value.to(device, copy=True)
        return torch.empty(value.shape, dtype=value.dtype, device=device)

    def total(self, share: Tensor) -> Tensor:
        """The sum of the shares of all processes, bit-identical on each of them."""
        dist.all_reduce(share)
        return share

    def max_rows(self, rows: int) -> int:
        """The most rows of a batch that any process takes."""
        return -(-rows // self._size)

    def micro_batches(self, rows: int, size: int) -> Iterator[MicroBatch]:
        """This process's micro-batches of a batch, as many as on every other process.

        A process with no rows left computes the batch's first row with a share of 0, because it has to take part
        in collective operations.
        """
        own, most = self._pick_rows(self._rank, rows), self.max_rows(rows)
        for offset in range(0, most, size):
            part = slice(own.start + offset, min(own.start + offset + size, own.stop))
            is_last = offset + size >= most
            if part.start < part.stop:
                yield MicroBatch(part, (part.stop - part.start) / rows, is_last)
            else:
                yield MicroBatch(slice(0, 1), 0.0, is_last)

    def _pick_rows(self, rank: int, rows: int) -> slice:
        """The rows of a batch that a process takes; the numbers of rows of two processes differ by at most one."""
        return slice(rank * rows // self._size, (rank + 1) * rows // self._size)

    def token_scores(
        self, model: Decoder, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None
    ) -> Tensor:
        """As `Decoder.token_scores`, (b, t, 2), on every process; each computes its rows."""
        rows = len(tokens_bt)
        own = self._pick_rows(self._rank, rows)
        part = own if own.start < own.stop else slice(0, 1)

        def own_rows(rows_bt: Tensor) -> Tensor:
            return rows_bt[part].to(self.device)

        branches = None if branches_bt is None else own_rows(branches_bt)
        scores_bt2 = model.token_scores(own_rows(tokens_bt), own_rows(targets_bt), branches)
        padded_bt2 = scores_bt2.new_zeros(self.max_rows(rows), *scores_bt2.shape[1:])
        padded_bt2[: own.stop - own.start] = scores_bt2[: own.stop - own.start]
        parts = [torch.empty_like(padded_bt2) for _ in range(self._size)]
        dist.all_gather(parts, padded_bt2)
        lengths = (len(range(rows)[self._pick_rows(rank, rows)]) for rank in range(self._size))
        return torch.cat([part_bt2[:length] for part_bt2, length in zip(parts, lengths, strict=True)])
