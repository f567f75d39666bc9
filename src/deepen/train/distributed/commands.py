"""The commands that rank 0 sends to the other processes.

All processes carry out a command simultaneously, each on its rows of a batch or its shards of the model.
"""

from dataclasses import dataclass

from torch import Tensor

from deepen.data.shards import Dataset
from deepen.model.config import ModelConfig
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState


@dataclass(frozen=True, kw_only=True, slots=True)
class Begin:
    """Build the engine of a segment, replacing the previous one.

    Args:
        state: the state that training continues from. Only its skeleton is sent: every process reads its share
            of lazy tensors, and rank 0 distributes others.
        segment: what to train.
        model: the model at its final depth.
        settings: optimizer, precision and other settings of a step.
        dataset: the data, at paths that every process can read.
        window: the largest context of the run, in tokens.
        first_token: where in the order of windows the run begins.
        shard, shard_group: how the processes divide the model, as in `World`.
        threads: CPU threads of each process.
    """

    state: TrainState
    segment: Segment
    model: ModelConfig
    settings: TrainSettings
    dataset: Dataset
    window: int
    first_token: int
    shard: bool
    shard_group: int
    threads: int


@dataclass(frozen=True, slots=True)
class TrainUntil:
    """Train up to this many tokens of the run, or until rank 0 sends the flag to stop before a step."""

    tokens: int


@dataclass(frozen=True, slots=True)
class CheckInitialization:
    """Check that the model behaves like fresh weights."""


@dataclass(frozen=True, slots=True)
class CopyShare:
    """Copy this process's share of the state, and write it when rank 0 names the folder for this number."""

    number: int


@dataclass(frozen=True, slots=True)
class ScoreTokens:
    """Compute the losses of this process's share of the sequences."""

    tokens_bt: Tensor
    targets_bt: Tensor
    branches_bt: Tensor | None


@dataclass(frozen=True, slots=True)
class Quit:
    """End with rank 0's exit status."""

    status: int


Command = Begin | TrainUntil | CheckInitialization | CopyShare | ScoreTokens | Quit
