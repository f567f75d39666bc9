"""What each of many processes holds of a model, and which rows of a batch it takes.

Replicated (DDP), each holds all of it and gradients are averaged. Sharded (FSDP2), each holds a share of every
weight, gradient and moment, and a block is whole on a device only while it runs. A state is whole in either case:
rank 0 gives its tensors out, and gathers them again, one at a time, so that no device ever holds all of them.

The others are given a state without numbers (`skeleton`); where a value is needed, rank 0's is meant.

Shapes: b sequences, t tokens.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepen.model.decoder import Decoder
from deepen.train.distributed.processes import World
from deepen.train.state import TrainState


def place(model: Decoder, weights: Mapping[str, Tensor], device: torch.device, world: World) -> nn.Module:
    """Give a model on the meta device its weights; returns what to call in its place for a training loss.

    Who requires gradients must be settled before: DDP takes it as it is now and never looks again.

    Args:
        weights: by parameter name; those of rank 0 count.
    """
    if world.size == 1:
        model.to_empty(device=device)
        model.load_state_dict(dict(weights))
        return model
    if device.type == "cuda":
        gc.collect()  # DDP and FSDP2 leave cycles: the model of the segment before would stand beside this one
    if world.shard:
        _shard(model, device, world)
    model.to_empty(device=device)
    for name, parameter in model.named_parameters():
        parameter.detach().copy_(spread(weights[name], parameter, world))
    if world.shard:
        return model
    # Weights are equal already, and there are no buffers to be kept so.
    return DistributedDataParallel(model, init_sync=False, gradient_as_bucket_view=True)


def _shard(model: Decoder, device: torch.device, world: World) -> None:
    """Make each block a unit that is gathered when it runs, and all around the blocks another, always there.

    Embeddings, norm and head are one unit because a tied head is the embedding, used at both ends. What is
    gathered is fp32, of which autocast makes its copies, as in one process; bf16 would halve the traffic.
    """
    from torch.distributed.device_mesh import init_device_mesh  # these take a second, which one process is spared
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (world.size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "token_losses")


def exchange(network: nn.Module, *, at_once: bool) -> AbstractContextManager[None]:
    """Around forward and backward passes: whether gradients are exchanged now or left for a later pass.

    Sharded they always are, because nobody has room for those of the whole model.
    """
    if isinstance(network, DistributedDataParallel) and not at_once:
        waiting: AbstractContextManager[None] = network.no_sync()
        return waiting
    return nullcontext()


def spread(value: Tensor, like: Tensor, world: World) -> Tensor:
    """Rank 0's value on every process: a copy on the device of `like`, or the shard that goes with it."""
    if world.size == 1:
        return value.to(like.device, copy=True)
    if world.rank == 0:
        given = value.to(like.device, copy=True)
    else:
        given = torch.empty(value.shape, dtype=value.dtype, device=like.device)
    if world.shard and like.shape == value.shape:
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(like, DTensor)
        shard: Tensor = distribute_tensor(given, like.device_mesh, like.placements)
        return shard
    dist.broadcast(given, 0)
    return given


def gathered(tensor: Tensor) -> Tensor:
    """A whole copy in the CPU's memory, on rank 0; of a shard, nothing but an empty tensor on the others."""
    if hasattr(tensor, "full_tensor"):
        tensor = whole(tensor)
        if dist.get_rank() > 0:
            return torch.empty(0)
    return tensor.detach().cpu().clone()


def summed(share: Tensor, world: World) -> Tensor:
    """The sum over all processes, the same on each to the last bit, of what each puts in."""
    if world.size > 1:
        dist.all_reduce(share)
    return share


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that each process may have a part of."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def skeleton(state: TrainState) -> TrainState:
    """The state without its numbers: names, shapes and types."""
    return replace(
        state,
        weights={name: weight.to("meta") for name, weight in state.weights.items()},
        moments={
            name: {key: value.to("meta") for key, value in kept.items()} for name, kept in state.moments.items()
        },
    )


def most_rows(rows: int, world: World) -> int:
    """The rows of a batch that the process with the most of them takes."""
    return -(-rows // world.size)


def own_rows(rows: int, world: World) -> slice:
    """Which rows of a batch this process takes: as many as any other, or one fewer, which may be none."""
    return slice(world.rank * rows // world.size, (world.rank + 1) * rows // world.size)


def micro_batches(rows: int, size: int, world: World) -> Iterator[tuple[slice, float, bool]]:
    """This process's micro-batches of a batch: which rows, their share of the batch, and whether it is the last.

    There are as many on every process. One that has no rows left takes the batch's first, with a share of 0:
    it has to take part in what all do.

    Args:
        rows: of the batch.
        size: rows of a micro-batch on one process.
    """
    own, most = own_rows(rows, world), most_rows(rows, world)
    for offset in range(0, most, size):
        part = slice(own.start + offset, min(own.start + offset + size, own.stop))
        is_last = offset + size >= most
        if part.start < part.stop:
            yield part, (part.stop - part.start) / rows, is_last
        else:
            yield slice(0, 1), 0.0, is_last


def token_losses(model: Decoder, tokens_bt: Tensor, targets_bt: Tensor, world: World) -> Tensor:
    """The loss of every target, (b, t), each process having computed its rows; whole on all of them."""
    if world.size == 1:
        return model.token_losses(tokens_bt, targets_bt)
    rows, device = len(tokens_bt), next(model.parameters()).device
    own = own_rows(rows, world)
    part = own if own.start < own.stop else slice(0, 1)
    losses_bt = model.token_losses(tokens_bt[part].to(device), targets_bt[part].to(device))
    if world.shard:
        model.reshard()  # type: ignore[operator]  # what is around the blocks stays gathered for a backward pass that does not come
    padded_bt = losses_bt.new_zeros(most_rows(rows, world), losses_bt.shape[1])
    padded_bt[: own.stop - own.start] = losses_bt[: own.stop - own.start]
    from_all = [torch.empty_like(padded_bt) for _ in range(world.size)]
    dist.all_gather(from_all, padded_bt)
    shares = (own_rows(rows, replace(world, rank=rank)) for rank in range(world.size))
    return torch.cat([part[: share.stop - share.start] for part, share in zip(from_all, shares, strict=True)])
