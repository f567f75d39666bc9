import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase, Schedule
from deepen.schedule.ramp import Ramp, apply_ramps
from deepen.schedule.recipes.stages import two_phase

MODEL = PRESETS["nano"]
SHARES = st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.9]), unique=True).map(lambda shares: [0.0, *sorted(shares)])


@settings(max_examples=40, deadline=None)
@given(SHARES, SHARES, st.data())
def test_a_ramp_splits_phases_and_changes_nothing_else(
    batch: list[float], context: list[float], data: st.DataObject
):
    batches = Ramp(steps=tuple((share, data.draw(st.sampled_from([64, 128, 1024]))) for share in batch))
    contexts = Ramp(steps=tuple((share, data.draw(st.sampled_from([8, 16, 64]))) for share in context))
    schedule = two_phase(MODEL, 3_000_000, staged_tokens=2_000_000, stages=4)
    split = apply_ramps(schedule, batch=batches, context=contexts, batch_tokens=1024)
    assert split.tokens == schedule.tokens and split.growth == schedule.growth
    begin, step = 0, max(size for _, size in batches.steps)
    assert all(phase.tokens >= step for phase in split.phases)
    for phase in split.phases:
        whole = phase_at(schedule, begin)
        assert (phase.depth, phase.train) == (whole.depth, whole.train)
        assert phase.label.startswith(whole.label)
        assert phase.batch_tokens == batches.at((begin + step - 0.5) / schedule.tokens)
        assert phase.context == contexts.at((begin + step - 0.5) / schedule.tokens)
        begin += phase.tokens


def phase_at(schedule: Schedule, tokens: int) -> Phase:
    """The phase that trains after `tokens` tokens."""
    end = 0
    for phase in schedule.phases:
        end += phase.tokens
        if tokens < end:
            return phase
    raise AssertionError


@pytest.mark.parametrize("steps", [(), ((0.1, 8),), ((0.0, 8), (0.0, 16)), ((0.0, 8), (1.0, 16)), ((0.0, 0),)])
def test_a_ramp_begins_at_0_and_rises(steps: tuple[tuple[float, int], ...]):
    with pytest.raises(ValueError, match="ramp"):
        Ramp(steps=steps)
