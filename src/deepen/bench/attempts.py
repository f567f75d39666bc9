"""Measurements of which some may fail, for want of memory for instance, while the others go on."""

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from deepen.device_errors import explain_device_error
from deepen.resource_errors import explain_resource_error


class Attempts:
    """Keeps the reason of each measurement that failed, by its name, and frees the memory that it held.

    Args:
        explain: the reason in one line; None for an error that is raised instead.
    """

    def __init__(self, explain: Callable[[Exception], str | None]) -> None:
        self._explain = explain
        self.failures: dict[str, str] = {}
        self.first_error: Exception | None = None

    @contextmanager
    def attempt(self, name: str, discard: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Keep the reason if the `with` block fails; then `discard` drops what would hold memory."""
        try:
            yield
        except Exception as error:
            reason = self._explain(error)
            if reason is None:
                raise
            self.failures[name] = reason
            if self.first_error is None:
                self.first_error = error
            discard()
            traceback.clear_frames(error.__traceback__)  # they hold tensors
            gc.collect()
            with suppress(RuntimeError):  # of a GPU on which nothing works any more
                torch.cuda.empty_cache()  # does nothing without a GPU


def explain_step_error(error: Exception) -> str | None:
    """Why a training step cannot be taken on this device; None where that is an error of ours."""
    if shortage := explain_resource_error(error):
        helps = "micro_batch_tokens" in shortage.smaller
        return f"{shortage.what}, of which smaller micro-batches need less" if helps else shortage.what
    failed = explain_device_error(error)
    return None if failed is None else failed.problem


def explain_any_error(error: Exception) -> str:
    """The same, of another library, which may raise anything."""
    if explained := explain_step_error(error):
        return explained
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
