"""Short runs of one segment: two sequences of 16 tokens a step, 48 steps, and noise in step 41 of `noisy` data."""

from dataclasses import replace
from typing import Any

import torch

from deepen.compute.ledger import Ledger
from deepen.data.batches import Batches
from deepen.data.shards import Tokens
from deepen.model.config import ModelConfig
from deepen.schedule.rate import Constant
from deepen.schedule.recipes.constant_depth import full
from deepen.study.compile.pieces import split_schedule
from deepen.train.engine import Engine
from deepen.train.placement import SingleProcess
from deepen.train.progress import Progress
from deepen.train.segment import Segment
from deepen.train.settings import TrainSettings
from deepen.train.state import TrainState, initial_state

CPU = SingleProcess(torch.device("cpu"))
CONTEXT, STEPS, NOISE_FROM = 16, 48, 40
BATCH_TOKENS = 2 * CONTEXT


def short_segment(model: ModelConfig) -> Segment:
    """Train all of a model for STEPS steps at a constant, high rate."""
    schedule = replace(full(model, STEPS * BATCH_TOKENS), rate=Constant(peak=3e-2))
    [segment] = split_schedule(schedule.in_steps(BATCH_TOKENS, CONTEXT), Ledger(model=model))
    return segment


def short_engine(model: ModelConfig, tokens: Tokens, state: TrainState | None = None, **settings: Any) -> Engine:
    """The engine of the short segment, from its beginning unless a state is given."""
    state = state or initial_state(model, model.depth, seed=0)
    batches = Batches(tokens, CONTEXT, seed=0)
    return Engine(state, short_segment(model), model, batches, TrainSettings(**settings), CPU)


def discard(progress: Progress, measured: dict[str, float]) -> None:
    """Log nothing."""


def is_same(a: TrainState, b: TrainState) -> bool:
    """Whether two states are equal to the bit; seconds do not count."""
    return (
        a.weights.keys() == b.weights.keys()
        and all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)
        and a.moments.keys() == b.moments.keys()
        and all(torch.equal(a.moments[n][key], b.moments[n][key]) for n in a.moments for key in a.moments[n])
        and replace(a.progress, seconds=0) == replace(b.progress, seconds=0)
        and a.recent_losses == b.recent_losses
    )
