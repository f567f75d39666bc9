from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.errors import InvalidValueError
from deepen.schedule.grid import StepGrid
from deepen.schedule.rate import WSD, Constant, Cosine, Rate


def rates(rate: Rate, total: int, batch: int) -> list[float]:
    """The rate of every step of a run."""
    pieces = rate.pieces(StepGrid.even(total, batch))
    starts = [max(0, piece.start) for piece in pieces]
    return [
        pieces[max(i for i, s in enumerate(starts) if s <= tokens)].at(tokens) for tokens in range(0, total, batch)
    ]


def test_wsd_warms_up_stays_and_decays_to_nearly_nothing():
    steps = rates(WSD(peak=1.0, warmup_tokens=40, decay_share=0.2), 1000, 10)
    assert steps[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert set(steps[5:80]) == {1.0}
    assert steps[80] == 1.0 and steps[-1] == pytest.approx(1 / 20)
    assert all(a >= b for a, b in pairwise(steps[80:]))


def test_cosine_ends_at_its_final_share():
    steps = rates(Cosine(peak=1.0, final_share=0.1), 1000, 1)
    assert steps[0] == 1.0 and steps[500] == pytest.approx(0.55) and steps[-1] == pytest.approx(0.1, abs=1e-3)


def test_constant_is_constant():
    assert set(rates(Constant(peak=0.5), 100, 10)) == {0.5}


def test_runs_of_different_length_share_all_but_the_decay():
    short, long = (WSD(peak=1.0, warmup_tokens=40).pieces(StepGrid.even(total, 10)) for total in (1000, 2000))
    assert short[:2] == long[:2] and short[2] != long[2]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50)), min_size=1, max_size=3),
    st.integers(0, 200),
    st.sampled_from([WSD, Cosine, Constant]),
)
def test_pieces_begin_and_end_between_two_steps_of_any_size(
    steps_and_sizes: list[tuple[int, int]], warmup_tokens: int, kind: type[Rate]
):
    ends = accumulate(steps * size for steps, size in steps_and_sizes)
    grid = StepGrid(stretches=tuple((end, size) for end, (_, size) in zip(ends, steps_and_sizes, strict=True)))
    try:
        pieces = kind(warmup_tokens=warmup_tokens).pieces(grid)
    except InvalidValueError as error:
        assert error.field in ("warmup_tokens", "decay_share")
        return
    for piece in pieces:
        assert piece.start == -grid.first_step or grid.nearest(piece.start) == piece.start
        assert piece.end is None or grid.nearest(piece.end) == piece.end
    assert all(after.start in (before.end, grid.nearest(0.8 * grid.total)) for before, after in pairwise(pieces))


def test_a_decay_that_does_not_fit_is_refused():
    with pytest.raises(InvalidValueError, match="warmup_tokens is 900, but the decay begins at 800 tokens"):
        WSD(warmup_tokens=900).pieces(StepGrid.even(1000, 10))
    with pytest.raises(InvalidValueError, match=r"decay_share is 0.001, too small a share of 1,000 tokens"):
        WSD(decay_share=0.001).pieces(StepGrid.even(1000, 10))


@pytest.mark.parametrize("peak", [0.0, -1.0, float("nan"), float("inf")])
def test_a_peak_that_cannot_train_is_refused(peak: float):
    for rate in (WSD, Cosine, Constant):
        with pytest.raises(ValueError, match="peak"):
            rate(peak=peak)
