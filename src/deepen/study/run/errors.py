"""Reasons for a run to end before its study is finished."""

from deepen.device_errors import explain_device_error
from deepen.errors import RunError
from deepen.resource_errors import explain_resource_error
from deepen.study.results.schema import Results


class WorkersLostError(RunError):
    """A segment lost its worker too often, or the executor accepts no more segments."""


class OutOfResourcesError(RunError):
    """Memory or threads have run out while a segment was trained."""


class DeviceFailedError(RunError):
    """A GPU, its driver, its libraries or the compiler of its kernels failed while a segment was trained."""


def explain_segment_error(error: Exception, segment: str) -> Exception:
    """The error to raise for an error of training: with a remedy, if resources ran out or a device failed.

    Args:
        error: what ended the training of the segment.
        segment: the segment in words.
    """
    if isinstance(error, RunError):  # which is explained, though it may mention memory
        return error
    explained: RunError
    if shortage := explain_resource_error(error):
        smaller = ", ".join(f"`{field}`" for field in shortage.smaller)
        explained = OutOfResourcesError(
            f"{shortage.what} in {segment}",
            remedy=f"{shortage.remedy}; or train fewer segments at once (`jobs`), or smaller ones ({smaller}) in "
            "another `folder`",
        )
    elif failed := explain_device_error(error):
        explained = DeviceFailedError(f"{failed.problem}, in {segment}", remedy=failed.remedy)
    else:
        return error
    explained.__cause__ = error
    return explained


class Interrupted(Exception):
    """A signal asked to stop; every segment finished its step and saved, and the same call continues.

    Attributes:
        results: the results so far, as in results.json; None if training had not begun.
    """

    results: Results | None = None
