"""Reasons for a run to end before its study is finished."""

from deepen.errors import RunError
from deepen.resource_errors import explain_resource_error
from deepen.study.results.schema import Results


class WorkersLostError(RunError):
    """A segment lost its worker too often, or the executor accepts no more segments."""


class OutOfResourcesError(RunError):
    """Memory or threads have run out while a segment was trained."""


def explain_segment_error(error: Exception, segment: str) -> Exception:
    """The error to raise for an error of training: an OutOfResourcesError if memory or threads have run out.

    Args:
        error: what ended the training of the segment.
        segment: the segment in words.
    """
    resource = explain_resource_error(error)
    if resource is None or isinstance(error, RunError):  # which is explained, though it may mention memory
        return error
    what, remedy = resource
    explained = OutOfResourcesError(
        f"{what} in {segment}",
        remedy=f"{remedy}; or train fewer segments at once (`jobs`), or smaller ones (`batch_tokens`, `context`) "
        "in another `folder`",
    )
    explained.__cause__ = error
    return explained


class Interrupted(Exception):
    """A signal asked to stop; every segment finished its step and saved, and the same call continues.

    Attributes:
        results: the results so far, as in results.json; None if training had not begun.
    """

    results: Results | None = None
