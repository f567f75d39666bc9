"""Placements of many processes: how they hold one model and divide its batches.

- `Replicated` (DDP): every process holds the full model, and gradients are averaged.
- `Sharded` (FSDP2): every process holds a shard of every weight, gradient and moment. A device holds a full block
  only while that block runs. With groups (HSDP), each group of processes holds one copy: blocks are gathered
  inside a group, and every gradient is averaged inside its group first, then between the groups:

      ranks       0    1        2    3        groups of 2
      weights     W₀   W₁       W₀   W₁       two copies in two shards
      gathered inside (0 1) and (2 3), averaged further between (0 2) and (1 3)

A state of lazy tensors (`model/lazy.py`) is read by every process that holds shards, each its own rows. Of any
other state, rank 0 has the values and distributes them, one at a time; the others start from its skeleton.
A copy of a sharded model's state is this process's rows (`HeldRows`), which it writes to a file of its own.

Shapes: b sequences, t tokens.
"""

import gc
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepen.model.decoder import Decoder
from deepen.model.lazy import LazyTensor, LazyTensors, unread
from deepen.train.checkpoint.shard_files import HeldRows
from deepen.train.distributed.processes import World
from deepen.train.placement import MicroBatch, Placement, SingleProcess, WholeModel
from deepen.train.state import Share

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def make_placement(world: World, device: torch.device, *, reduce_once: bool = False) -> Placement:
    """The placement of this process of a run; `reduce_once` as in `TrainSettings`."""
    if world.size == 1:
        return SingleProcess(device)
    if world.shards == 1:
        return Replicated(device, world.rank, world.size)
    return Sharded(device, world.rank, world.size, world.shards, reduce_once=reduce_once)


class _ManyProcesses(ABC):
    """The common part of replicated and sharded models: rows, sums, and values that come from rank 0."""

    def __init__(self, device: torch.device, rank: int, size: int) -> None:
        self.device, self.gradient_scale = device, size
        self._rank, self._size = rank, size

    def load_and_wrap(self, model: Decoder, weights: Mapping[str, Tensor]) -> nn.Module:
        """Load weights into a model on the meta device; returns the module to call for a loss."""
        if self.device.type == "cuda":
            gc.collect()  # DDP and FSDP2 leave reference cycles that would keep the previous segment's model alive
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
        own, most = self._rows_of(self._rank, rows), self.max_rows(rows)
        for offset in range(0, most, size):
            part = slice(own.start + offset, min(own.start + offset + size, own.stop))
            is_last = offset + size >= most
            if part.start < part.stop:
                yield MicroBatch(part, (part.stop - part.start) / rows, is_last)
            else:
                yield MicroBatch(slice(0, 1), 0.0, is_last)

    def _rows_of(self, rank: int, rows: int) -> slice:
        """The rows of a batch that a process takes; the numbers of rows of two processes differ by at most one."""
        return slice(rank * rows // self._size, (rank + 1) * rows // self._size)

    def token_scores(
        self, model: Decoder, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None
    ) -> Tensor:
        """As `Decoder.token_scores`, (b, t, 2), on every process; each computes its rows."""
        rows = len(tokens_bt)
        own = self._rows_of(self._rank, rows)
        part = own if own.start < own.stop else slice(0, 1)

        def own_rows(rows_bt: Tensor) -> Tensor:
            return rows_bt[part].to(self.device)

        branches = None if branches_bt is None else own_rows(branches_bt)
        scores_bt2 = model.token_scores(own_rows(tokens_bt), own_rows(targets_bt), branches)
        padded_bt2 = scores_bt2.new_zeros(self.max_rows(rows), *scores_bt2.shape[1:])
        padded_bt2[: own.stop - own.start] = scores_bt2[: own.stop - own.start]
        parts = [torch.empty_like(padded_bt2) for _ in range(self._size)]
        dist.all_gather(parts, padded_bt2)
        lengths = (len(range(rows)[self._rows_of(rank, rows)]) for rank in range(self._size))
        return torch.cat([part_bt2[:length] for part_bt2, length in zip(parts, lengths, strict=True)])


class Replicated(WholeModel, _ManyProcesses):
    """Every process holds the full model; DDP averages gradients."""

    keeps_casts = True
    can_hold_back_updates = True

    def _divide(self, model: Decoder) -> None:
        """Keep the full model."""

    def _wrap(self, model: Decoder) -> nn.Module:
        # No initial synchronization: the weights are equal already, and there are no buffers.
        return DistributedDataParallel(model, init_sync=False, gradient_as_bucket_view=True)

    def load(self, tensors: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
        """Rank 0's tensor on every process, on the device of `like`."""
        return self._broadcast(tensors[name], like.device)

    def sync_gradients(self, network: nn.Module, *, now: bool) -> AbstractContextManager[None]:
        """Average gradients in this pass, or only accumulate them for a later one."""
        assert isinstance(network, DistributedDataParallel)
        if now:
            return nullcontext()
        later: AbstractContextManager[None] = network.no_sync()
        return later


@cache  # the process groups of a mesh stay for the whole run: new ones in each segment would take more memory
def _make_mesh(device_type: str, size: int, shards: int) -> "DeviceMesh":
    """All processes in one dimension, or, for FSDP2 to shard in the second only, groups × ranks inside a group."""
    from torch.distributed.device_mesh import init_device_mesh  # a slow import

    if shards == size:
        return init_device_mesh(device_type, (size,))
    return init_device_mesh(device_type, (size // shards, shards), mesh_dim_names=("copies", "shards"))


class Sharded(_ManyProcesses):
    """Every process holds a shard of every weight, gradient and moment; FSDP2 gathers a block while it runs.

    bf16 copies are not kept: together they would be the full model, for which no device has memory.
    """

    keeps_casts = False
    can_hold_back_updates = False  # the fused optimizer takes no `found_inf` for DTensors

    def __init__(
        self, device: torch.device, rank: int, size: int, shards: int, *, reduce_once: bool = False
    ) -> None:
        super().__init__(device, rank, size)
        self._shards, self._reduce_once = shards, reduce_once

    def _divide(self, model: Decoder) -> None:
        """Make each block an FSDP unit, which is gathered when it runs, and everything around the blocks another.

        Embeddings, norm and head are one unit because a tied head is the embedding, used at both ends. Units are
        gathered in fp32, and autocast casts them as in one process; gathering in bf16 would halve the traffic.
        """
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # slow imports

        mesh = _make_mesh(self.device.type, self._size, self._shards)
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        register_fsdp_forward_method(model, "token_scores")

    def _wrap(self, model: Decoder) -> nn.Module:
        return model

    def load(self, tensors: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
        """The rows of a tensor that match the shard `like`; all of a tensor of a different shape."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        value = unread(tensors)[name]
        if isinstance(value, LazyTensor):
            if like.shape != value.shape:
                return value.load().to(like.device)
            assert isinstance(like, DTensor)
            rows = value.load(find_share(like).rows(value.shape[0])).to(like.device)
            return _from_rows(rows, like)
        if like.shape != value.shape:  # a scalar, such as AdamW's step count
            return self._broadcast(value, like.device)
        assert isinstance(like, DTensor)
        copy = self._copy_on_rank_0(value, like.device)
        shard: Tensor = distribute_tensor(copy, like.device_mesh, like.placements)
        return shard

    def copy(self, tensors: Mapping[str, Tensor]) -> LazyTensors:
        """Copies of this process's rows in the CPU's memory."""
        share = next(find_share(tensor) for tensor in tensors.values() if hasattr(tensor, "full_tensor"))
        return LazyTensors({name: _copy_rows(tensor, share) for name, tensor in tensors.items()})

    def keep(self, moments: Mapping[str, Tensor], like: Tensor) -> LazyTensors:
        """This process's rows of the moments of a shard, in the CPU's memory."""
        return self.copy({name: self.load(moments, name, like) for name in moments})

    @contextmanager
    def gathered(self, module: nn.Module) -> Iterator[None]:
        """A context in which the parameters of an FSDP unit are whole on every process."""
        module.unshard()  # type: ignore[operator]
        yield
        module.reshard()  # type: ignore[operator]

    def full(self, tensor: Tensor) -> Tensor:
        """The full tensor, gathered from all processes if they hold shards of it."""
        full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        return full

    def sync_gradients(self, network: nn.Module, *, now: bool) -> AbstractContextManager[None]:
        """Average gradients in this pass; without `now` leave it to a later one only if whole gradients fit."""
        network.set_requires_gradient_sync(now or not self._reduce_once)  # type: ignore[operator]
        return nullcontext()

    def token_scores(
        self, model: Decoder, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None
    ) -> Tensor:
        """As `Decoder.token_scores`, (b, t, 2), on every process; each computes its rows."""
        scores_bt2 = super().token_scores(model, tokens_bt, targets_bt, branches_bt)
        model.reshard()  # type: ignore[operator]  # the unit around the blocks stays gathered for a backward pass that never comes
        return scores_bt2


def find_share(shard: Any) -> Share:
    """Which rows of a tensor this process holds; if its rows are replicated too, one process writes them."""
    coordinate = shard.device_mesh.get_coordinate()
    (divided,) = (number for number, placement in enumerate(shard.placements) if placement.is_shard(0))
    return Share(
        coordinate[divided],
        shard.device_mesh.size(divided),
        is_written_here=not any(at for number, at in enumerate(coordinate) if number != divided),
    )


def _from_rows(rows: Tensor, like: Any) -> Tensor:
    """A shard like another one, of this process's rows."""
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        rows, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _copy_rows(tensor: Any, share: Share) -> HeldRows:
    rows = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return HeldRows(rows.detach().to("cpu", copy=True), share, tuple(tensor.shape), tensor.dtype)
