"""How many processes hold one model and divide its batches.

- `Replicated` (DDP): every process holds the whole model, and gradients are averaged.
- `Sharded` (FSDP2): every process holds a shard of every weight, gradient and moment. A block is whole on a
  device only while it runs.

A state is whole in either case. Rank 0 distributes its tensors and gathers them again, one at a time, so that no
device ever holds all of them. The other processes start from a state without numbers (`TrainState.skeleton`):
wherever a method takes a value, that of rank 0 counts.

Shapes: b sequences, t tokens.
"""

import gc
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepen.model.decoder import Decoder
from deepen.train.distributed.processes import World
from deepen.train.placement import MicroBatch, Placement, SingleProcess


def make_placement(world: World, device: torch.device) -> Placement:
    """The placement of this process of a run."""
    if world.size == 1:
        return SingleProcess(device)
    kind = Sharded if world.shard else Replicated
    return kind(device, world.rank, world.size)


class _ManyProcesses(ABC):
    """What replicated and sharded models have in common: rows, sums, and values that come from rank 0."""

    def __init__(self, device: torch.device, rank: int, size: int) -> None:
        self.device, self.gradient_scale = device, size
        self._rank, self._size = rank, size

    def load_and_wrap(self, model: Decoder, weights: Mapping[str, Tensor]) -> nn.Module:
        """Load rank 0's weights into a model on the meta device; returns the module to call for a loss."""
        if self.device.type == "cuda":
            gc.collect()  # DDP and FSDP2 leave cycles, which would keep the last segment's model beside this one
        self._divide(model)
        model.to_empty(device=self.device)
        for name, parameter in model.named_parameters():
            parameter.detach().copy_(self.distribute(weights[name], parameter))
        return self._wrap(model)

    @abstractmethod
    def _divide(self, model: Decoder) -> None:
        """Divide a model on the meta device among the processes, where they do not hold all of it."""

    @abstractmethod
    def _wrap(self, model: Decoder) -> nn.Module:
        """The module to call for a loss."""

    @abstractmethod
    def distribute(self, value: Tensor, like: Tensor) -> Tensor:
        """Rank 0's value on every process, on the device of `like`: whole, or the shard that matches `like`."""

    def _broadcast(self, value: Tensor, device: torch.device) -> Tensor:
        copy = self._copy_on_rank_0(value, device)
        dist.broadcast(copy, 0)
        return copy

    def _copy_on_rank_0(self, value: Tensor, device: torch.device) -> Tensor:
        """A copy of the value on rank 0; elsewhere, memory of its shape and type."""
        if self._rank == 0:
            return value.to(device, copy=True)
        return torch.empty(value.shape, dtype=value.dtype, device=device)

    def total(self, share: Tensor) -> Tensor:
        """The sum of what every process puts in, the same to the last bit on all of them."""
        dist.all_reduce(share)
        return share

    def max_rows(self, rows: int) -> int:
        """The most rows of a batch that any process takes."""
        return -(-rows // self._size)

    def micro_batches(self, rows: int, size: int) -> Iterator[MicroBatch]:
        """This process's micro-batches of a batch, as many as on every other process.

        A process with no rows left takes the batch's first with a share of 0, because it has to take part in
        what all processes do together.
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
        """The rows of a batch that a process takes: as many as any other, or one fewer, which may be none."""
        return slice(rank * rows // self._size, (rank + 1) * rows // self._size)

    def token_losses(self, model: Decoder, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """The loss of every target, (b, t), in nats, on every process; each computes its rows."""
        rows = len(tokens_bt)
        own = self._rows_of(self._rank, rows)
        part = own if own.start < own.stop else slice(0, 1)
        losses_bt = model.token_losses(tokens_bt[part].to(self.device), targets_bt[part].to(self.device))
        padded_bt = losses_bt.new_zeros(self.max_rows(rows), losses_bt.shape[1])
        padded_bt[: own.stop - own.start] = losses_bt[: own.stop - own.start]
        parts = [torch.empty_like(padded_bt) for _ in range(self._size)]
        dist.all_gather(parts, padded_bt)
        lengths = (len(range(rows)[self._rows_of(rank, rows)]) for rank in range(self._size))
        return torch.cat([part_bt[:length] for part_bt, length in zip(parts, lengths, strict=True)])


class Replicated(_ManyProcesses):
    """Every process holds the whole model; DDP averages gradients."""

    keeps_casts = True
    can_hold_back_updates = True

    def _divide(self, model: Decoder) -> None:
        """Leave the model whole."""

    def _wrap(self, model: Decoder) -> nn.Module:
        # The weights are equal already, and there are no buffers to keep equal.
        return DistributedDataParallel(model, init_sync=False, gradient_as_bucket_view=True)

    def distribute(self, value: Tensor, like: Tensor) -> Tensor:
        """Rank 0's value on every process, on the device of `like`."""
        return self._broadcast(value, like.device)

    def gather(self, tensor: Tensor) -> Tensor:
        """A copy in the CPU's memory; every process has the same."""
        return tensor.detach().cpu().clone()

    def full(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def sync_gradients(self, network: nn.Module, *, now: bool) -> AbstractContextManager[None]:
        """Average gradients in this pass, or only add them up for a later one."""
        assert isinstance(network, DistributedDataParallel)
        if now:
            return nullcontext()
        later: AbstractContextManager[None] = network.no_sync()
        return later


class Sharded(_ManyProcesses):
    """Every process holds a shard of every weight, gradient and moment; FSDP2 gathers a block while it runs.

    bf16 copies are not kept: those of all blocks would add up to the whole model, for which no device has memory.
    """

    keeps_casts = False
    can_hold_back_updates = False  # the optimizer of shards takes no flag from the device

    def _divide(self, model: Decoder) -> None:
        """Make each block a unit that is gathered when it runs, and everything around the blocks another.

        Embeddings, norm and head are one unit because a tied head is the embedding, used at both ends. Units are
        gathered in fp32, of which autocast makes its copies as in one process; bf16 would halve the traffic.
        """
        from torch.distributed.device_mesh import init_device_mesh  # imports that take a second
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        mesh = init_device_mesh(self.device.type, (self._size,))
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        register_fsdp_forward_method(model, "token_losses")

    def _wrap(self, model: Decoder) -> nn.Module:
        return model

    def distribute(self, value: Tensor, like: Tensor) -> Tensor:
        """The shard of rank 0's value that matches the shard `like`; a value of another shape is broadcast."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if like.shape != value.shape:  # a scalar, such as AdamW's step count
            return self._broadcast(value, like.device)
        assert isinstance(like, DTensor)
        copy = self._copy_on_rank_0(value, like.device)
        shard: Tensor = distribute_tensor(copy, like.device_mesh, like.placements)
        return shard

    def gather(self, tensor: Tensor) -> Tensor:
        """A whole copy in the CPU's memory on rank 0; of a shard, an empty tensor on the other processes."""
        is_shard = hasattr(tensor, "full_tensor")
        full = self.full(tensor)
        if is_shard and self._rank > 0:
            return torch.empty(0)
        return full.detach().cpu().clone()

    def full(self, tensor: Tensor) -> Tensor:
        """The whole of a tensor, gathered from all processes where they hold shards of it."""
        full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        return full

    def sync_gradients(self, network: nn.Module, *, now: bool) -> AbstractContextManager[None]:
        """Average gradients in every pass: no process has memory for those of the whole model."""
        return nullcontext()

    def token_losses(self, model: Decoder, tokens_bt: Tensor, targets_bt: Tensor) -> Tensor:
        """The loss of every target, (b, t), in nats, on every process; each computes its rows."""
        losses_bt = super().token_losses(model, tokens_bt, targets_bt)
        model.reshard()  # type: ignore[operator]  # the unit around the blocks stays gathered for a backward pass that never comes
        return losses_bt
