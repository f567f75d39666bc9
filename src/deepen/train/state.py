"""Everything needed to go on, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from deepen.model.build import init_weights
from deepen.model.config import ModelConfig

Moments = Mapping[str, Tensor]
"""What AdamW keeps of one parameter: `exp_avg` and `exp_avg_sq` of its shape, and its own `step` count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run is: training tokens and steps, exact FLOPs, seconds spent training."""

    tokens: int = 0
    step: int = 0
    flops: int = 0
    seconds: float = 0.0

    def advanced(self, *, tokens: int, flops: int, seconds: float) -> "Progress":
        """One step further."""
        return Progress(
            tokens=self.tokens + tokens,
            step=self.step + 1,
            flops=self.flops + flops,
            seconds=self.seconds + seconds,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainState:
    """Weights, optimizer moments and progress of a run.

    Tensors are on the CPU, by parameter name (`blocks.<index>.<name>`), fp32 but for moments that are kept in
    bf16 (`AdamWSpec.state_precision`). The data cursor is
    `progress.tokens` with `seed`: batches depend on nothing else. Training draws no random numbers, and new
    blocks draw theirs from `seed`, so there is no generator to save. `recent_losses` are those a spike is told
    by, the latest last.
    """

    weights: Mapping[str, Tensor]
    depth: int
    seed: int
    moments: Mapping[str, Moments] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    recent_losses: tuple[float, ...] = ()


def initial_state(config: ModelConfig, depth: int, seed: int) -> TrainState:
    """The state before the first step of a model of `depth` blocks."""
    return TrainState(weights=init_weights(config, depth, seed), depth=depth, seed=seed)
