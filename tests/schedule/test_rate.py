import math
from itertools import accumulate, pairwise
from typing import Any

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


@pytest.mark.parametrize(
    ("shape", "halfway", "step_before"),
    [("linear", 0.5, 0.01), ("cosine", 0.5, (1 - math.cos(math.pi * 0.01)) / 2), ("sqrt", 1 - 0.5**0.5, 0.005)],
)
def test_a_decay_falls_from_the_peak_to_its_final_share_in_its_shape(
    shape: str, halfway: float, step_before: float
):
    steps = rates(WSD(peak=2.0, decay_share=0.1, decay_shape=shape), 1000, 1)
    assert set(steps[:901]) == {2.0}
    assert steps[950] == pytest.approx(2 * halfway) and steps[-1] == pytest.approx(2 * step_before, rel=0.01)
    assert all(a > b for a, b in pairwise(steps[900:]))
    raised = rates(WSD(peak=2.0, decay_share=0.1, decay_shape=shape, final_share=0.5), 1000, 1)
    assert raised[950] == pytest.approx(1 + halfway)


@pytest.mark.parametrize("kind", [WSD, Cosine, Constant])
def test_a_warmup_is_a_share_of_the_budget_and_not_of_the_run(kind: type[WSD]):
    share, tokens = kind(warmup_share=0.02), kind(warmup_tokens=20)
    assert rates(share, 1000, 1) == rates(tokens, 1000, 1)
    longer = share.in_tokens(1000, lambda share: 2000 * share)
    assert longer == tokens and rates(longer, 2000, 1)[:20] == rates(share, 1000, 1)[:20]


def test_a_decay_of_some_tokens_and_one_of_a_share_are_the_same():
    assert rates(WSD(decay_tokens=200), 1000, 10) == rates(WSD(decay_share=0.2), 1000, 10)
    assert WSD(decay_tokens=200, warmup_tokens=40).scaled(0.5) == WSD(decay_tokens=100, warmup_tokens=20)


def test_a_share_of_compute_becomes_tokens():
    """Half of the compute is used after three quarters of the tokens, as in a run that was shallow first."""

    def position(share: float) -> float:
        return 1000 * (1.5 * share if share <= 0.5 else 0.5 + 0.5 * share)

    rate = WSD(decay_in="compute", decay_share=0.2, decay_shape="sqrt")
    with pytest.raises(InvalidValueError, match="decay_in is 'compute', which needs a ledger"):
        rate.pieces(StepGrid.even(1000, 10))
    assert rate.in_tokens(1000, position) == WSD(decay_tokens=100, decay_shape="sqrt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay_shape": "square"}, "decay_shape 'square' is unknown: use linear, cosine or sqrt"),
        ({"decay_in": "flops"}, "decay_in 'flops' is unknown: use tokens or compute"),
        ({"decay_share": 0.0}, r"decay_share is 0.0: it must be in \(0, 1\]"),
        ({"decay_tokens": 0}, "decay_tokens is 0: it must be at least 1"),
        ({"warmup_share": 1.0}, "warmup_share is 1.0: it must be at least 0 and below 1"),
        ({"warmup_share": 0.1, "warmup_tokens": 5}, "warmup_share is 0.1, and warmup_tokens is 5: give one"),
        ({"final_share": 1.0}, "final_share is 1.0: it must be at least 0 and below 1"),
    ],
)
def test_settings_that_fit_no_run_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(InvalidValueError, match=message):
        WSD(**options)


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
    with pytest.raises(
        InvalidValueError, match=r"warmup_tokens is 900, but the decay begins at 800 tokens, .*: use fewer"
    ):
        WSD(warmup_tokens=900).pieces(StepGrid.even(1000, 10))
    with pytest.raises(InvalidValueError, match=r"decay_share is 0.001, too small a share of 1,000 tokens"):
        WSD(decay_share=0.001).pieces(StepGrid.even(1000, 10))
    with pytest.raises(InvalidValueError, match="decay_tokens is 4, too small a share of 1,000 tokens"):
        WSD(decay_tokens=4).pieces(StepGrid.even(1000, 10))


@pytest.mark.parametrize("peak", [0.0, -1.0, float("nan"), float("inf")])
def test_a_peak_that_cannot_train_is_refused(peak: float):
    for rate in (WSD, Cosine, Constant):
        with pytest.raises(ValueError, match="peak"):
            rate(peak=peak)
