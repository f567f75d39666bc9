"""How a run ends before its study is finished."""

from deepen.errors import RunError


class WorkersLostError(RunError):
    """A segment lost its worker again and again, or the executor takes no more segments."""


class Interrupted(Exception):
    """SIGINT or SIGTERM: every segment finished its step and saved its state; the same call continues."""
