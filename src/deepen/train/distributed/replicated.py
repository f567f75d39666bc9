"""Replicated models (DDP): every process holds the full model, and gradients are averaged."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepen.model.decoder import Decoder
from deepen.train.distributed.many_processes import ManyProcesses
from deepen.train.placement import WholeModel


class Replicated(WholeModel, ManyProcesses):
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
