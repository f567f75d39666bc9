"""The beginning of a segment: growth, and what is dropped of the state before it."""

from dataclasses import replace

from deepen.growth.grow import grow_by
from deepen.model.config import ModelConfig
from deepen.train.segment import Segment
from deepen.train.state import TrainState


def begin_segment(state: TrainState, segment: Segment, config: ModelConfig) -> TrainState:
    """The state that a segment's training continues from: grown and without moments if the segment begins so.

    Growth and a new context drop the recent losses: they make the loss jump, which must not count as a spike.
    """
    if state.progress.tokens > segment.start:
        return state
    assert state.progress.tokens == segment.start, "a segment begins where its parent ended"
    if segment.growth is not None and state.depth < segment.growth.depth:
        state = replace(grow_by(state, segment.growth, config), recent_losses=())
    if segment.changes_context:
        state = replace(state, recent_losses=())
    state = replace(state, layers=segment.trains.layers)
    return replace(state, moments={}) if segment.reset_moments else state
