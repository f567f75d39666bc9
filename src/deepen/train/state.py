"""The training state: everything needed to continue a run, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from deepen.model.build import draw_weights, init_weights
from deepen.model.config import ModelConfig
from deepen.model.lazy import LazyTensors, unread
from deepen.train.progress import Progress

Moments = Mapping[str, Tensor]
"""The optimizer state of one parameter; AdamW keeps `exp_avg` and `exp_avg_sq` of its shape, and `step`; Muon a
`momentum_buffer` of its shape."""


@dataclass(frozen=True, slots=True)
class Share:
    """The rows of every tensor that one of many processes holds, by FSDP2's rule (`torch.chunk`).

    Args:
        index: number of the share.
        count: how many shares there are.
        is_written_here: whether this process writes it, where several hold the same one.
    """

    index: int
    count: int
    is_written_here: bool = True

    def rows(self, height: int) -> range:
        """The rows of a tensor of `height` rows."""
        size = -(-height // self.count)
        return range(min(self.index * size, height), min((self.index + 1) * size, height))

    def find_holders(self, rows: range, height: int) -> range:
        """Which shares have some of the rows of a tensor of `height` rows."""
        size = -(-height // self.count)
        return range(rows.start // size, -(-rows.stop // size))


class OtherShares(Protocol):
    """The other processes, each of which holds its share of a state and writes it to a file of its own."""

    def begin(self, folder: Path) -> None:
        """Let them write to a folder."""

    def wait(self) -> Mapping[int, Mapping[str, Any]]:
        """Wait for them; returns the manifest's entry of each file, by the number of its share.

        Raises:
            OSError: one could not write.
            RunError: one failed otherwise, or died.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainState:
    """Weights, optimizer moments and progress of a run.

    Tensors are on the CPU, by parameter name (`blocks.<index>.<name>`), in fp32 except for moments that are kept
    in bf16 (`AdamWSpec.state_precision`). Batches depend only on the data, `seed` and `progress.tokens`, so no
    data cursor is saved. Training draws no random numbers, and new blocks draw theirs from `seed`, so no generator
    is saved.

    Args:
        weights: by parameter name.
        depth: current number of stored blocks.
        seed: seed of weights and data order.
        moments: by parameter name, of the parameters that have been trained.
        progress: tokens, steps, FLOPs and seconds so far.
        recent_losses: the losses that a new loss is compared with to detect spikes, the latest last.
        layers: the stored block of each executed layer, where layers share blocks; empty if each is executed once.
        others: if the tensors are this process's share (`checkpoint.shard_files.HeldRows`), who holds the rest.
    """

    weights: Mapping[str, Tensor]
    depth: int
    seed: int
    moments: Mapping[str, Moments] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    recent_losses: tuple[float, ...] = ()
    layers: tuple[int, ...] = ()
    others: OtherShares | None = None

    @property
    def is_lazy(self) -> bool:
        """Whether its tensors are only read when they are needed."""
        return isinstance(self.weights, LazyTensors)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(iter(unread(self.weights).values())).dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        parts = (self.weights, *self.moments.values())
        return sum(tensor.nbytes for part in parts for tensor in unread(part).values())

    def load(self) -> "TrainState":
        """The state with all its tensors in memory."""
        moments = {name: dict(kept) for name, kept in self.moments.items()}
        return replace(self, weights=dict(self.weights), moments=moments)

    def skeleton(self) -> "TrainState":
        """The state as other processes need it: without values, which lazy tensors do not have.

        Other tensors are replaced by meta tensors: names, shapes and types.
        """
        if self.is_lazy:
            return self
        return replace(
            self,
            weights={name: weight.to("meta") for name, weight in self.weights.items()},
            moments={
                name: {key: value.to("meta") for key, value in moments.items()}
                for name, moments in self.moments.items()
            },
        )


def initial_state(config: ModelConfig, depth: int, seed: int) -> TrainState:
    """The state before the first step of a model of `depth` blocks."""
    return TrainState(weights=init_weights(config, depth, seed), depth=depth, seed=seed)


def fresh_state(config: ModelConfig, depth: int, seed: int) -> TrainState:
    """As `initial_state`, with lazy tensors: each is drawn when it is read."""
    return TrainState(weights=draw_weights(config, depth, seed), depth=depth, seed=seed)
