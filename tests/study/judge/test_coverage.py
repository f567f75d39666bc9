"""The intervals of `judge` hold as often as they say, on simulated studies whose truth is known."""

import pytest
from benchmarks.verdict_coverage import SCENARIOS, measure_coverage

STUDIES = 400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("equal noise", 3),
        ("baseline ×3", 2),
        ("baseline ×3", 5),
        ("baseline ×6", 3),
        ("arms share segments", 3),
        ("one arm ×3", 5),
        ("one arm ×5, baseline ×3", 3),
        ("heavy tails, t(3)", 3),
        ("seven budgets", 3),
    ],
)
def test_all_intervals_hold_together_in_93_to_98_percent_of_studies(name: str, seeds: int):
    found = measure_coverage(SCENARIOS[name], seeds, STUDIES)
    assert 0.93 <= found.joint <= 0.98
    assert 0.93 <= found.multipliers <= 0.995
