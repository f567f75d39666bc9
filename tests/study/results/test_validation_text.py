"""The validation text of a mark in blocks."""

import random
from statistics import fmean

import pytest

from deepen.study.results.validation_text import block_means, text_stderr


@pytest.mark.parametrize(
    ("windows", "sizes"),
    [(0, []), (1, [1]), (15, [15]), (16, [16]), (31, [31]), (32, [16, 16]), (40, [16, 24]), (48, [16, 16, 16])],
)
def test_blocks_have_sixteen_windows_and_the_last_one_those_left_over(windows: int, sizes: list[int]):
    losses = [float(loss) for loss in range(windows)]
    begins = [sum(sizes[:index]) for index in range(len(sizes))]
    assert block_means(losses) == tuple(
        fmean(losses[begin : begin + size]) for begin, size in zip(begins, sizes, strict=True)
    )


def test_the_standard_error_allows_for_documents_that_are_longer_than_a_window():
    """Documents of 8 windows: the error of the mean is that of an eighth as many independent windows."""
    draw, errors, means = random.Random(0), [], []
    for _ in range(300):
        windows = [loss for _ in range(200) for loss in [draw.gauss(3.0, 0.2)] * 8]
        stderr = text_stderr(block_means(windows))
        assert stderr is not None
        errors.append(stderr)
        means.append(fmean(windows))
    actual = (sum((mean - 3.0) ** 2 for mean in means) / len(means)) ** 0.5
    assert fmean(errors) == pytest.approx(actual, rel=0.1)
    assert text_stderr((3.0,)) is None
