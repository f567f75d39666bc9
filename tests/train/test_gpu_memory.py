"""Processes that share GPUs, checked before they start."""

import pytest

from deepen.errors import InvalidValueError
from deepen.train.gpu_memory import check_sharing

GB = 10**9


@pytest.mark.parametrize(
    ("needed", "free", "processes"),
    [
        (30 * GB, [80 * GB] * 8, 8),
        (30 * GB, [80 * GB] * 8, 16),
        (30 * GB, [80 * GB, 40 * GB], 3),  # the third uses GPU 0
        (30 * GB, [], 4),  # unknown
        (90 * GB, [80 * GB], 1),  # not a matter of sharing: `check_memory` refuses the model
    ],
)
def test_processes_that_fit_are_let_through(needed: int, free: list[int], processes: int):
    check_sharing(needed, free, processes)


@pytest.mark.parametrize(
    ("free", "processes", "words"),
    [
        (
            [80 * GB] * 8,
            17,
            "is 17, so 3 segments share GPU 0; each takes 30.0 GB besides activations, and 80",
        ),
        (
            [80 * GB, 40 * GB],
            4,
            "is 4, so 2 segments share GPU 1; each takes 30.0 GB besides activations, and 40.0",
        ),
    ],
)
def test_processes_that_do_not_fit_are_refused_with_a_number_that_does(
    free: list[int], processes: int, words: str
):
    with pytest.raises(InvalidValueError, match=words) as refused:
        check_sharing(30 * GB, free, processes)
    assert refused.value.field == "jobs"
    check_sharing(30 * GB, free, int(refused.value.remedy.split()[-1]))
