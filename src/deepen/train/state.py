"""The training state: everything needed to continue a run, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from deepen.model.build import init_weights
from deepen.model.config import ModelConfig
from deepen.train.progress import Progress

Moments = Mapping[str, Tensor]
"""The optimizer state of one parameter; AdamW keeps `exp_avg` and `exp_avg_sq` of its shape, and `step`; Muon a
`momentum_buffer` of its shape."""


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
    """

    weights: Mapping[str, Tensor]
    depth: int
    seed: int
    moments: Mapping[str, Moments] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    recent_losses: tuple[float, ...] = ()
    layers: tuple[int, ...] = ()

    def skeleton(self) -> "TrainState":
        """The state with meta tensors: names, shapes and types, but no values."""
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
