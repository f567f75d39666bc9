"""Which errors become lines, and which keep their traceback."""

import errno

import pytest

from deepen.cli.output.failures import is_explained, report_failure
from deepen.cli.requests.parser import RequestError
from deepen.errors import InvalidValueError
from deepen.study.run.errors import Interrupted
from deepen.train.checkpoint.state_check import StateError


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (StateError("state is damaged"), True),  # of a shard that only one process reads
        (InvalidValueError("is 5", field="depth"), True),
        (RequestError(["--depth is 5"]), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: unknown error"), True),
        (Interrupted(), True),
        (ValueError("not enough values to unpack"), False),
        (KeyError("weights"), False),
    ],
    ids=repr,
)
def test_what_a_user_can_cause_becomes_lines(
    error: Exception, explained: bool, capsys: pytest.CaptureFixture[str]
):
    assert is_explained(error) is explained
    assert (report_failure(error) is not None) is explained
    assert bool(capsys.readouterr().err) is explained
