"""Segments: whole steps of whole sequences, and how a state begins one."""

from dataclasses import replace

import pytest

from deepen.errors import InvalidValueError
from deepen.model.config import ModelConfig
from deepen.train.begin import begin_segment
from deepen.train.state import initial_state
from short_runs import BATCH_TOKENS, CONTEXT, short_segment


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"end": BATCH_TOKENS + 1}, "0 to 33, not whole steps of 32"),
        ({"end": 0}, "0 to 0, not whole steps of 32"),
        ({"batch_tokens": 0}, "not whole steps of 0"),
        ({"context": 12}, "is 12: it must divide the 32 tokens of a step and the 0 before"),
        ({"context": 0}, "is 0: it must divide"),
        ({"start": 8, "end": 40}, "is 16: it must divide the 32 tokens of a step and the 8 before"),
    ],
)
def test_what_would_skip_or_repeat_tokens_is_no_segment(changes: dict[str, int], problem: str, model: ModelConfig):
    with pytest.raises(InvalidValueError, match=problem):
        replace(short_segment(model), **changes)  # type: ignore[arg-type]


def test_losses_at_another_context_are_not_compared(model: ModelConfig):
    segment = replace(short_segment(model), context=CONTEXT // 2, changes_context=True)
    state = replace(initial_state(model, model.depth, seed=0), recent_losses=(3.0, 2.0))
    begun = begin_segment(state, segment, model)
    assert begun == replace(state, recent_losses=())
    assert begin_segment(state, replace(segment, changes_context=False), model) == state
