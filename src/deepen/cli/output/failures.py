"""The one place where errors become lines on stderr and exit codes.

    2    the request was wrong: a line per problem, with the library's fields called as the command's options
    1    the run failed: one line with the cause, what is kept, and how to continue
    130  interrupted: one line with what is kept

Anything else is an error of ours and keeps its traceback.
"""

from pathlib import Path
from typing import Protocol

from deepen.cli.output.stderr import STDERR
from deepen.cli.requests.command import Command
from deepen.cli.requests.parser import RequestError, describe_errors
from deepen.cli.requests.run_request import RunRequest
from deepen.device_errors import explain_device_error
from deepen.errors import InvalidValueError, InvalidValuesError, RunError, join_or
from deepen.os_errors import explain
from deepen.resource_errors import Shortage, explain_resource_error
from deepen.study.run.errors import Interrupted

FAILED, WRONG_REQUEST, INTERRUPTED = 1, 2, 130


class Request(Protocol):
    """What every command's request has."""

    @property
    def command(self) -> Command:
        """The table by whose options the library's fields are called."""
        ...


def report_failure(error: Exception, request: Request | None = None) -> int | None:
    """Print an error as lines and return the exit code; None where no user can have caused it.

    Args:
        request: what was being done; None where the request itself was wrong.
    """
    if isinstance(error, RequestError):
        return print_errors(WRONG_REQUEST, *error.problems)
    if isinstance(error, InvalidValueError | InvalidValuesError):
        problems = describe_errors(error, request.command) if request else str(error).splitlines()
        return print_errors(WRONG_REQUEST, *dict.fromkeys(problems))
    if isinstance(error, Interrupted):
        kept = "nothing was written"
        if isinstance(request, RunRequest):
            kept = f"every step so far is kept in {request.folder}: the same command continues"
        STDERR.print(f"stopped; {kept}")
        return INTERRUPTED
    cause = _describe_failure(error, request)
    if cause is None:
        return None
    if isinstance(request, RunRequest):
        cause = f"{cause}; {_describe_kept(request.folder)}"
    return print_errors(FAILED, cause)


def is_explained(error: Exception) -> bool:
    """Whether `report_failure` has lines for an error; any other one keeps its traceback."""
    wrong_request = RequestError | InvalidValueError | InvalidValuesError | Interrupted
    return isinstance(error, wrong_request) or _describe_failure(error, None) is not None


def print_errors(code: int, *lines: str) -> int:
    """Print each line as an error; returns the exit code."""
    for line in lines:
        STDERR.print(f"error: {line}")
    return code


def _describe_failure(error: Exception, request: Request | None) -> str | None:
    """What ended a command, in one line; None where it is an error of ours."""
    if isinstance(error, RunError):
        problem = _describe(error, request)
        return f"the run failed: {problem}" if isinstance(request, RunRequest) else problem
    if shortage := explain_resource_error(error):
        return _describe_shortage(shortage, request)
    if failed := explain_device_error(error):
        return _describe(failed, request)
    if isinstance(error, OSError):
        problem, remedy = explain(error)
        where = f" ({error.filename})" if error.filename else ""
        return f"cannot read or write: {problem}{where}" + (f": {remedy}" if remedy else "")
    return None


def _describe_kept(folder: Path) -> str:
    """Which complete state there is to continue from, and how."""
    from deepen.study.store.study_folder import Store

    try:
        newest = Store(folder).newest_state()
    except OSError:  # a disk that is gone
        kept = f"every state that was saved in {folder} is kept"
    else:
        kept = f"the last complete state is {newest}" if newest else f"no state is complete in {folder} yet"
    return f"{kept}; once the cause is removed, the same command continues"


def _describe_shortage(shortage: Shortage, request: Request | None) -> str:
    """What has run out, and what helps: smaller values, where the command has options for them."""
    options = [] if request is None else [o.flag for o in request.command.options if o.key in shortage.smaller]
    smaller = f"use a smaller {join_or(options)}, or " if options else ""
    return _describe(RunError(shortage.what, remedy=f"{smaller}{shortage.remedy}"), request)


def _describe(error: RunError, request: Request | None) -> str:
    """An error in words, with the library's fields called as the command's options."""
    return error.describe(request.command.display_name) if request else str(error)
