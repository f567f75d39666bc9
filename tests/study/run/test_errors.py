"""Why the training of a segment ended."""

from deepen.study.run.errors import OutOfResourcesError, explain_segment_error
from deepen.train.distributed.failure import ProcessLostError


def test_an_error_that_is_explained_already_stays_as_it_is():
    """The reason of a lost process may mention memory, which ran out elsewhere or not at all."""
    lost = ProcessLostError("process 1 of 2 died (killed, or out of memory?)")
    assert explain_segment_error(lost, "full, seed 0") is lost
    assert isinstance(explain_segment_error(MemoryError(), "full, seed 0"), OutOfResourcesError)
