"""Multipliers and their intervals in words."""

import pytest

from deepen.report.intervals import saving_text
from deepen.study.results.schema import Verdict


@pytest.mark.parametrize(
    ("interval", "text"),
    [([1.02, 1.5], "20 % (2 to 33 %)"), ([0.9, 1.5], ""), ([1.2, 0], ""), (None, "")],
)
def test_a_saving_is_given_only_where_its_whole_interval_is_one(interval: list[float] | None, text: str):
    content = {"arm": "a", "compute_multiplier": 1.25, "multiplier_interval": interval}
    assert saving_text(Verdict.from_json(content)) == text
