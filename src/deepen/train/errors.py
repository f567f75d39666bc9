"""Errors that end training."""

from deepen.errors import RunError


class TrainingError(RunError):
    """Training that cannot continue; the message says where it stopped, why, and what to do."""
