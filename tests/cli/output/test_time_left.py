"""The time left, from how fast a command has been."""

import pytest

from deepen.cli.output.time_left import MIN_SECONDS, TimeLeft


def test_the_time_left_counts_from_the_first_progress():
    left = TimeLeft()
    left.add(0.0, 0.5)  # earlier runs
    left.add(60.0, 0.5)  # workers start
    assert left.seconds is None
    left.add(100.0, 0.51)
    left.add(100.0 + MIN_SECONDS - 1, 0.518)
    assert left.seconds is None  # measured for too short a time
    left.add(120.0, 0.53)
    assert left.seconds == pytest.approx(20 / 0.02 * 0.47)


def test_the_time_left_follows_a_change_of_speed():
    left = TimeLeft()
    for second in range(1, 1000):
        left.add(second, second * 1e-5)
    for second in range(1000, 3000):
        left.add(second, 0.01 + (second - 1000) * 1e-4)
    assert left.seconds == pytest.approx((1 - 0.01 - 0.1999) / 1e-4)
