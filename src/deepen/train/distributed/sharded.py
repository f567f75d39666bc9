"""Sharded models (FSDP2): every process holds a shard of every weight, gradient and moment.

A device holds a full block only while that block runs. With groups (HSDP), each group of processes holds one copy:
blocks are gathered inside a group, and every gradient is averaged inside its group first, then between the groups:

    ranks       0    1        2    3        groups of 2
    weights     W₀   W₁       W₀   W₁       two copies in two shards
    gathered inside (0 1) and (2 3), averaged further between (0 2) and (1 3)

What is gathered together, a unit of FSDP2, depends on the precision. Embeddings, final norm and head are always
one unit, because a tied head is the embedding, used at both ends; it stays gathered throughout a step.

    fp32    each block is a unit, and what is around the blocks another
    bf16    each block's matrices and their biases are a unit, which travels in bf16; the norms of all blocks are
            in the unit around them, which travels in fp32

So matrix products read the numbers to which autocast would round, and whatever autocast keeps in fp32 is fp32.
Gradients of matrices are computed in bf16, as under autocast, and averaged in fp32. Norms need no gather of their
own, which would cost each block a latency.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deepen.model.decoder import Decoder
from deepen.model.lazy import LazyTensor, LazyTensors, unread
from deepen.train.checkpoint.shard_files import HeldRows
from deepen.train.distributed.many_processes import ManyProcesses
from deepen.train.distributed.processes import World
from deepen.train.host_copy import copy_to_host
from deepen.train.settings import TrainSettings
from deepen.train.state import Share
from deepen.train.trainable import is_norm

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@cache  # the process groups of a mesh stay for the whole run: new ones in each segment would take more memory
def _make_mesh(device_type: str, size: int, shards: int) -> "DeviceMesh":
    """All processes in one dimension, or, for FSDP2 to shard in the second only, groups × ranks inside a group."""
    from torch.distributed.device_mesh import init_device_mesh  # a slow import

    if shards == size:
        return init_device_mesh(device_type, (size,))
    return init_device_mesh(device_type, (size // shards, shards), mesh_dim_names=("copies", "shards"))


class Sharded(ManyProcesses):
    """Every process holds a shard of every weight, gradient and moment; FSDP2 gathers a block while it runs.

    Autocast keeps no bf16 copies: together they would be the full model, for which no device has memory.

    Args:
        device: where this process computes.
        world: the processes, and in how many shards they hold the model.
        settings: precision, and when gradients are averaged.
    """

    keeps_casts = False
    can_hold_back_updates = False  # the fused optimizer takes no `found_inf` for DTensors

    def __init__(self, device: torch.device, world: World, settings: TrainSettings) -> None:
        super().__init__(device, world.rank, world.size)
        self._shards, self._reduce_once = world.shards, bool(settings.reduce_once)
        self._gathers_bf16 = settings.uses_bf16

    def _divide(self, model: Decoder) -> None:
        """Make the units of the model; the module's docstring lists them."""
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # slow imports

        mesh = _make_mesh(self.device.type, self._size, self._shards)
        if self._gathers_bf16:
            _divide_for_bf16(model, mesh)
        else:
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
            rows = value.load(_locate_shard(like).rows(value.shape[0])).to(like.device)
            return _from_rows(rows, like)
        if like.shape != value.shape:  # a scalar, such as AdamW's step count
            return self._broadcast(value, like.device)
        assert isinstance(like, DTensor)
        copy = self._copy_on_rank_0(value, like.device)
        shard: Tensor = distribute_tensor(copy, like.device_mesh, like.placements)
        return shard

    def copy(self, tensors: Mapping[str, Tensor]) -> LazyTensors:
        """Copies of this process's rows in the CPU's memory."""
        share = next(_locate_shard(tensor) for tensor in tensors.values() if hasattr(tensor, "full_tensor"))
        rows = copy_to_host({name: _own_rows(tensor) for name, tensor in tensors.items()})
        return LazyTensors({
            name: HeldRows(rows[name], share, tuple(tensor.shape), tensor.dtype)
            for name, tensor in tensors.items()
        })  # fmt: skip

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


def _divide_for_bf16(model: Decoder, mesh: "DeviceMesh") -> None:
    """Make each block's matrices and biases a unit that travels in bf16, and all the rest one in fp32.

    A unit never reaches into a block that is one already. So the rest comes first, without the matrices, and the
    blocks follow, without the norms, which are in a unit by then.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    in_bf16 = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # the residual stream stays fp32
    )
    named = [entry for block in model.blocks for entry in block.named_parameters()]
    fully_shard(model, mesh=mesh, ignored_params={each for name, each in named if not is_norm(name)})
    for block in model.blocks:
        norms = {each for name, each in block.named_parameters() if is_norm(name)}
        fully_shard(block, mesh=mesh, mp_policy=in_bf16, ignored_params=norms)


def _locate_shard(shard: Any) -> Share:
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


def _own_rows(tensor: Any) -> Tensor:
    """The rows of a tensor that this process holds: all, if it is no shard."""
    rows: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return rows
