"""Who is who among the processes of a run."""

import pytest

from deepen.errors import InvalidValueError
from deepen.train.distributed.processes import count_processes


def test_without_torchrun_there_is_one_process():
    assert count_processes({}) == 1
    assert count_processes({"RANK": "3"}) == 1
    assert count_processes({"WORLD_SIZE": "4", "RANK": "3"}) == 4


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "two", "RANK": "0"}, "WORLD_SIZE is 'two': start the processes with torchrun"),
        ({"WORLD_SIZE": "2"}, "RANK is '': start the processes with torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2, of 2 processes"),
    ],
)
def test_a_launcher_that_sets_half_of_it_is_refused(environment: dict[str, str], words: str):
    with pytest.raises(InvalidValueError, match=words):
        count_processes(environment)
