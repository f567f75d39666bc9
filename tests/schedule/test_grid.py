import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.schedule.grid import StepGrid, round_to_steps, round_up_to_steps
from deepen.schedule.phase import Phase
from deepen.schedule.schedule import Schedule


@st.composite
def grids(draw: st.DrawFn) -> StepGrid:
    stretches, end = [], 0
    for steps, size in draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50)), min_size=1, max_size=4)):
        end += steps * size
        stretches.append((end, size))
    return StepGrid(stretches=tuple(stretches))


def positions(grid: StepGrid) -> list[int]:
    """All positions, counted out step by step."""
    found = [0]
    for end, size in grid.stretches:
        while found[-1] < end:
            found.append(found[-1] + size)
    return found


@given(grids(), st.data())
def test_the_nearest_position_is_the_one_found_by_counting(grid: StepGrid, data):
    every, tokens = positions(grid), data.draw(st.integers(0, grid.total))
    nearest = min(abs(position - tokens) for position in every)
    assert grid.nearest(tokens) == max(position for position in every if abs(position - tokens) == nearest)


@given(st.integers(1, 1000), st.integers(1, 100), st.floats(0, 1e6))
def test_an_even_grid_rounds_to_whole_steps_also_beyond_its_end(steps: int, size: int, tokens: float):
    grid = StepGrid.even(steps * size, size)
    assert grid.nearest(tokens) == round_to_steps(tokens, size) * size


def test_halves_are_rounded_up():
    assert [round_to_steps(tokens, 10) for tokens in (4, 5, 14.9, 15)] == [0, 1, 1, 2]
    assert [round_up_to_steps(tokens, 10) for tokens in (0, 1, 10, 11)] == [0, 1, 1, 2]


def test_the_grid_of_a_schedule_has_the_steps_of_its_phases():
    phases = (Phase(depth=1, tokens=40, batch_tokens=10, label="a"), Phase(depth=2, tokens=60, label="b"))
    grid = Schedule(phases=phases).in_steps(batch_tokens=20, context=10).grid
    assert grid.stretches == ((40, 10), (100, 20)) and (grid.total, grid.first_step) == (100, 10)


@pytest.mark.parametrize("stretches", [(), ((15, 10),), ((40, 10), (30, 10)), ((40, 10), (70, 20)), ((10, 0),)])
def test_a_stretch_of_broken_steps_is_refused(stretches: tuple[tuple[int, int], ...]):
    with pytest.raises(InvalidValueError, match="stretches"):
        StepGrid(stretches=stretches)
