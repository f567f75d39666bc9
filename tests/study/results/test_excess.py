"""Excess loss since growth, from curves whose answer is known."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepen.study.results.excess import excess_since_growth, find_crossing
from deepen.study.results.schema import Results


def curve(
    losses: dict[int, float | None], price: int, rates: dict[int, float] | None = None
) -> list[dict[str, Any]]:
    """Points by tokens, each token costing `price` FLOPs; the rate is 1 unless given."""
    return [
        {"tokens": tokens, "flops": price * tokens, "lr": (rates or {}).get(tokens, 1.0), "val_loss": loss}
        for tokens, loss in losses.items()
    ]


def excess(baseline: list[dict[str, Any]], grown: list[dict[str, Any]], grown_at: int = 100) -> list[Any]:
    growths = [{"tokens": grown_at, "flops": 0, "depth_before": 1, "depth_after": 2}]
    arms = [
        {"name": "full", "seed": 3, "curve": baseline},
        {"name": "one-shot", "seed": 3, "curve": grown, "growths": growths},
        {"name": "one-shot", "seed": 4, "curve": grown, "growths": growths},  # no baseline with this seed
        {"name": "small", "seed": 3, "curve": grown},
    ]
    return list(excess_since_growth(Results.from_json({"baseline": "full", "arms": arms})))


def test_the_excess_begins_at_the_last_growth_and_pairs_seeds():
    baseline = curve({50: 5.0, 100: 4.3, 150: 4.2, 200: 4.1}, price=2)
    points = excess(baseline, curve({50: 5.1, 100: 4.4, 150: 4.6, 200: 4.05}, price=1))
    assert [(point.arm, point.seed, point.tokens_since_growth) for point in points] == [
        ("one-shot", 3, 0),
        ("one-shot", 3, 50),
        ("one-shot", 3, 100),
    ]
    assert [point.loss for point in points] == pytest.approx([0.1, 0.4, -0.05])


def test_at_equal_compute_the_baseline_is_read_where_it_has_cost_as_much():
    baseline = curve({50: 5.0, 100: 4.0}, price=2)
    points = excess(baseline, curve({100: 4.5, 150: 4.5, 200: 4.5, 250: 4.5}, price=1))
    between = 5.0 - 0.5849625  # 150 FLOPs lie at log(1.5) / log(2) of the way from 100 to 200
    assert [point.loss_at_compute for point in points] == pytest.approx([4.5 - 5.0, 4.5 - between, 0.5])


def test_a_decayed_rate_on_either_side_is_reported():
    baseline = curve(dict.fromkeys((100, 150, 200, 250), 4.0), price=1, rates={250: 0.1})
    grown = curve(dict.fromkeys((100, 150, 200, 250), 4.0), price=1, rates={200: 0.5, 250: 0.2})
    assert [point.is_before_decay for point in excess(baseline, grown)] == [True, True, False, False]
    dipped = curve(dict.fromkeys((100, 150, 200, 250), 4.0), price=1, rates={150: 0.2})  # re-warmed after growth
    assert [point.is_before_decay for point in excess(baseline, dipped)] == [True, True, True, False]


def test_points_without_a_validation_have_no_excess_and_others_keep_theirs():
    baseline = curve({100: 4.0, 150: None, 200: 4.0}, price=1)
    points = excess(baseline, curve({100: 4.5, 150: 4.5, 175: 4.5, 200: None}, price=1))
    assert [(point.tokens, point.loss) for point in points] == [(100, 0.5), (150, None), (175, None), (200, None)]
    assert [point.loss_at_compute for point in points] == [0.5, 0.5, 0.5, None]


@pytest.mark.parametrize(
    ("points", "crossing"),
    [
        ({50: 0.4, 100: 0.05, 150: -0.05}, 125),
        ({50: -0.1, 100: -0.2}, 50),
        ({50: -0.1, 100: 0.1}, None),
        ({50: 0.3, 100: -0.1, 150: 0.1, 200: 0.0}, 200),
        ({}, None),
    ],
)
def test_a_crossing_is_where_the_excess_stays_at_zero_or_below(points: dict[float, float], crossing: float | None):
    assert find_crossing(points) == (crossing if crossing is None else pytest.approx(crossing))


@given(st.lists(st.floats(-1, 1), min_size=1))
def test_nothing_is_above_zero_after_a_crossing(losses: list[float]):
    points = dict(enumerate(losses))
    crossing = find_crossing(dict(points))
    if crossing is None:
        assert losses[-1] > 0
    else:
        assert all(loss <= 0 for position, loss in points.items() if position > crossing)


@pytest.mark.parametrize("flops", ["?", 0, -5, float("nan"), None])
def test_points_of_the_baseline_without_flops_are_not_compared_at_equal_compute(flops: object):
    baseline = curve({100: 4.3, 150: 4.2, 200: 4.1}, price=2)
    baseline[0]["flops"] = flops
    grown = curve({100: 4.4, 150: 4.6, 200: 4.05, 320: 4.0}, price=1)
    points = excess(baseline, grown)
    assert [point.loss_at_compute is not None for point in points] == [False, False, False, True]
    assert [point.loss for point in points] == pytest.approx([0.1, 0.4, -0.05, None])
