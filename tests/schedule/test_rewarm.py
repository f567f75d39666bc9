from dataclasses import replace

import pytest

from deepen.growth.spec import Growth
from deepen.schedule.phase import Phase
from deepen.schedule.rewarm import Rewarm, find_rewarms
from deepen.schedule.schedule import Schedule


def growing(growth: Growth, *later: Growth | None, batch_tokens: int = 10) -> Schedule:
    """100 tokens at each of depths 2, 4 and 8, the last divided into two phases; `later` is the last growth."""
    last = later[0] if later else None
    phases = (
        Phase(depth=2, tokens=100, label="a"),
        Phase(depth=4, tokens=100, label="b"),
        Phase(depth=8, tokens=40, label="c", growth=last),
        Phase(depth=8, tokens=60, label="d"),
    )
    return Schedule(phases=phases, growth=growth).in_steps(batch_tokens, 10)


def test_the_example_of_the_docstring():
    [_, rewarm, *_] = find_rewarms(growing(Growth(rewarm_tokens=40)))
    assert rewarm is not None and rewarm.end == 140
    assert [rewarm.at(tokens) for tokens in range(100, 140, 10)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rewarm.at(rewarm.end) == 1


def test_the_new_blocks_rise_and_they_are_those_of_the_last_growth():
    rewarms = find_rewarms(growing(Growth(operator="interleave", rewarm_tokens=20)))
    first = Rewarm(start=90, end=120, blocks=(1, 3))
    second = Rewarm(start=190, end=220, blocks=(1, 3, 5, 7))
    assert rewarms == (None, first, second, second)


def test_everything_rises_if_that_is_asked_for():
    rewarms = find_rewarms(growing(Growth(rewarm_tokens=20, rewarm="all")))
    assert rewarms[1] == Rewarm(start=90, end=120, blocks=())


def test_without_tokens_or_with_less_than_half_a_step_nothing_rises():
    for tokens in (0, 4):
        assert find_rewarms(growing(Growth(rewarm_tokens=tokens))) == (None,) * 4
    assert find_rewarms(growing(Growth(rewarm_tokens=6)))[1] == Rewarm(start=90, end=110, blocks=(2, 3))


def test_a_later_growth_ends_the_rise_of_the_one_before():
    whole = Growth(rewarm_tokens=500)
    assert find_rewarms(growing(whole))[2] == Rewarm(start=190, end=700, blocks=(4, 5, 6, 7))
    assert find_rewarms(growing(whole, replace(whole, rewarm_tokens=0)))[2] is None


def test_the_rise_ends_on_the_grid_of_the_steps_that_follow():
    schedule = growing(Growth(rewarm_tokens=33))
    larger = replace(schedule.phases[1], batch_tokens=20)
    rewarm = find_rewarms(replace(schedule, phases=(schedule.phases[0], larger, *schedule.phases[2:])))[1]
    assert rewarm == Rewarm(start=80, end=140, blocks=(2, 3))
