"""The error that ends training."""

from deepen.errors import RunError


class TrainingError(RunError):
    """Training cannot continue. The message gives the step, the reason and the remedy."""
