from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepen.cli.requests.ramp_options import read_ramp
from deepen.compute.ledger import Ledger
from deepen.errors import InvalidValueError
from deepen.model.presets import PRESETS
from deepen.schedule.phase import Phase
from deepen.schedule.ramp import Ramp, apply_ramps
from deepen.schedule.rate import WSD
from deepen.schedule.recipes.one_shot import one_shot
from deepen.schedule.recipes.stages import two_phase
from deepen.schedule.schedule import Schedule
from deepen.study.compile.pieces import split_schedule

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


@settings(max_examples=60, deadline=None)
@given(SHARES, SHARES, st.data())
def test_every_piece_of_a_ramped_run_begins_where_the_last_ended_with_whole_sequences(
    batch: list[float], context: list[float], data: st.DataObject
):
    """Steps of 24 tokens hold sequences of 8, and three of them end where none of 32 begins."""
    contexts = Ramp(steps=tuple((share, data.draw(st.sampled_from([4, 8, 32]))) for share in context))
    sizes = [size for size in (24, 32, 96, 128) if all(size % value == 0 for _, value in contexts.steps)]
    batches = Ramp(steps=tuple((share, data.draw(st.sampled_from(sizes))) for share in batch))
    schedule = two_phase(MODEL, 30_000, staged_tokens=20_000, stages=4)
    whole = apply_ramps(schedule, batch=batches, context=contexts, batch_tokens=128).in_steps(128, 32)
    position = 0
    for piece in split_schedule(replace(whole, rate=WSD(warmup_tokens=1000)), Ledger(model=MODEL)):
        assert piece.start == position and position % piece.context == 0
        assert (piece.end - piece.start) % piece.batch_tokens == 0
        position = piece.end
    assert position == whole.tokens
    assert abs(position - schedule.tokens) <= 96 * 4


def test_a_phase_ends_where_a_longer_sequence_can_begin():
    """By itself, 100 tokens are four steps of 24; a sequence of 32 can begin after 96 of 24 but not after 120."""
    first = Phase(depth=1, tokens=110, label="short", batch_tokens=24, context=8)
    then = Phase(depth=1, tokens=256, label="long")
    phases = Schedule(phases=(first, then)).in_steps(64, 32).phases
    assert [phase.tokens for phase in phases] == [96, 256]
    assert Schedule(phases=(first,)).in_steps(64, 32).tokens == 120
    with pytest.raises(InvalidValueError, match="less than 4 steps of 24, a whole sequence of 32"):
        Schedule(phases=(replace(first, tokens=40), then)).in_steps(64, 32)


def test_pieces_know_where_the_context_changes():
    contexts = Ramp(steps=((0.0, 16), (0.25, 64)))
    schedule = apply_ramps(one_shot(MODEL, 8192), context=contexts, batch_tokens=256).in_steps(256, 64)
    pieces = split_schedule(schedule, Ledger(model=MODEL))
    changes = [(piece.start, piece.context, piece.changes_context) for piece in pieces]
    assert changes[:2] == [(0, 16, False), (2048, 64, True)]
    assert not any(changed for *_, changed in changes[2:])


def test_a_ramp_is_written_as_text_that_gives_the_same_ramp():
    ramp = Ramp(steps=((0.0, 256), (1 / 3, 512), (0.5, 1024)))
    assert read_ramp(str(ramp)) == ramp and str(Ramp(steps=((0.0, 256), (0.5, 1024)))) == "0:256,0.5:1024"
