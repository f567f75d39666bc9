"""Saving states in the background while training continues."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec

from deepen.train.state import TrainState

Details = ParamSpec("Details")


class BackgroundSaver(Generic[Details]):
    """Writes states in a thread, at most one at a time.

    A `TrainState` is a copy made between two steps, so training can continue while it is written. A save in the
    background is as safe as one in the foreground: the previous state is kept until the new one is complete.
    An error in the thread is raised by the next `save` or `wait`, in the thread that trains.

    Args:
        write: writes a state. Its further arguments, such as the length of the logs when the state was copied, are
            passed to `save`.
    """

    def __init__(self, write: Callable[Concatenate[TrainState, Details], None]) -> None:
        self._write = write
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, state: TrainState, *details: Details.args, **named: Details.kwargs) -> None:
        """Begin to write a state, after waiting for the previous save."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(state, *details), kwargs=named, name="saver")
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a state is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the save in progress, and raise its error if it failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self, state: TrainState, *details: Details.args, **named: Details.kwargs) -> None:
        try:
            self._write(state, *details, **named)
        except Exception as error:
            self._error = error

    def __enter__(self) -> "BackgroundSaver[Details]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Wait for the last save. If training failed too, its error is raised, with a note about the save."""
        try:
            self.wait()
        except Exception as save_error:
            if error is None:
                raise
            error.add_note(f"the save in progress failed too: {save_error}")
