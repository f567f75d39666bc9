"""Reasons for a run to end before its study is finished."""

from deepen.errors import RunError


class WorkersLostError(RunError):
    """A segment lost its worker too often, or the executor accepts no more segments."""


class Interrupted(Exception):
    """A signal asked to stop; every segment finished its step and saved, and the same call continues."""
