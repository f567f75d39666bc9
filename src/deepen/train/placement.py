"""Where a model's tensors are, and which rows of a batch this process trains on.

The engine trains on its process's rows of a batch and leaves everything that involves other processes to its
placement, so its loop has no branch for parallelism. `SingleProcess` is the usual one; `distributed/placement.py`
has the placements of many processes: replicated (DDP) and sharded (FSDP2).

Shapes: b sequences, t tokens.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from deepen.model.decoder import Decoder
from deepen.train.host_copy import copy_to_host


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The rows of a batch that one forward and backward pass computes.

    Args:
        rows: which rows of the batch.
        share: their share of the batch, which weights their mean loss.
        is_last: whether it is the last micro-batch of the step.
    """

    rows: slice
    share: float
    is_last: bool = True


class Placement(Protocol):
    """How the processes of a run hold a model and divide its batches.

    Attributes:
        device: where this process computes.
        gradient_scale: factor on every loss before its backward pass. Processes average their gradients, so with
            n processes it is n.
        keeps_casts: whether autocast may keep its bf16 copies of weights until a forward pass ends.
        can_hold_back_updates: whether a flag on the device can keep the optimizer from moving weights.
    """

    @property
    def device(self) -> torch.device: ...  # noqa: D102

    @property
    def gradient_scale(self) -> int: ...  # noqa: D102

    @property
    def keeps_casts(self) -> bool: ...  # noqa: D102

    @property
    def can_hold_back_updates(self) -> bool: ...  # noqa: D102

    def load_and_wrap(self, model: Decoder, weights: Mapping[str, Tensor]) -> nn.Module:
        """Load weights into a model on the meta device; returns the module to call for a loss.

        Set `requires_grad` before: DDP reads it once, here.
        """

    def load(self, tensors: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
        """A copy of one of the tensors on the device of `like`; if `like` is a shard, the matching shard."""

    def copy(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Copies in the CPU's memory; of shards, this process's rows."""

    def keep(self, moments: Mapping[str, Tensor], like: Tensor) -> Mapping[str, Tensor]:
        """What a process keeps in the CPU's memory of the moments of a parameter that is not trained."""

    def gathered(self, module: nn.Module) -> AbstractContextManager[None]:
        """A context in which the parameters of a block, or of the decoder around the blocks, are whole."""

    def full(self, tensor: Tensor) -> Tensor:
        """The full tensor on every process, gathered if each holds a shard of it."""

    def total(self, share: Tensor) -> Tensor:
        """The sum of the shares of all processes, bit-identical on each of them."""

    def sync_gradients(self, network: nn.Module, *, now: bool) -> AbstractContextManager[None]:
        """A context for forward and backward passes: average gradients now, or leave that to a later pass."""

    def max_rows(self, rows: int) -> int:
        """The most rows of a batch that any process takes."""

    def micro_batches(self, rows: int, size: int) -> Iterator[MicroBatch]:
        """This process's micro-batches of a batch, as many as on every other process.

        Args:
            rows: of the batch.
            size: rows of a micro-batch on one process.
        """

    def token_scores(
        self, model: Decoder, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None
    ) -> Tensor:
        """As `Decoder.token_scores`, (b, t, 2), on every process; each computes its rows."""


class WholeModel:
    """What a placement does where this process holds the whole model."""

    __slots__ = ()

    def copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies in the CPU's memory."""
        return copy_to_host(tensors)

    def keep(self, moments: Mapping[str, Tensor], like: Tensor) -> Mapping[str, Tensor]:
        """The moments themselves."""
        return moments

    def gathered(self, module: nn.Module) -> AbstractContextManager[None]:
        """A context that does nothing: this process has the parameters."""
        return nullcontext()

    def full(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor


@dataclass(frozen=True, slots=True)
class SingleProcess(WholeModel):
    """One process that holds the whole model and trains on the whole batch."""

    device: torch.device
    gradient_scale: int = 1
    keeps_casts: bool = True
    can_hold_back_updates: bool = True

    def load_and_wrap(self, model: Decoder, weights: Mapping[str, Tensor]) -> nn.Module:
        """Load weights into a model on the meta device; returns the model itself."""
        model.to_empty(device=self.device)
        model.load_state_dict(dict(weights))
        return model

    def load(self, tensors: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
        """A copy of one of the tensors on the device of `like`."""
        return tensors[name].to(like.device, copy=True)

    def total(self, share: Tensor) -> Tensor:
        """The share itself."""
        return share

    def sync_gradients(self, network: nn.Module, *, now: bool) -> AbstractContextManager[None]:
        """A context that does nothing: there are no other processes."""
        return nullcontext()

    def max_rows(self, rows: int) -> int:
        """All rows."""
        return rows

    def micro_batches(self, rows: int, size: int) -> Iterator[MicroBatch]:
        """The micro-batches of a batch, in order."""
        for begin in range(0, rows, size):
            end = min(begin + size, rows)
            yield MicroBatch(slice(begin, end), (end - begin) / rows, is_last=end == rows)

    def token_scores(
        self, model: Decoder, tokens_bt: Tensor, targets_bt: Tensor, branches_bt: Tensor | None = None
    ) -> Tensor:
        """As `Decoder.token_scores`, (b, t, 2)."""
        return model.token_scores(tokens_bt, targets_bt, branches_bt)
