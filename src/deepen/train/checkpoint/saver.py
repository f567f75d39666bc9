"""Saving while training goes on."""

import threading
from types import TracebackType

from deepen.study.store.segment_folder import LogSizes, SegmentFolder
from deepen.train.state import TrainState


class Saver:
    """Writes a segment's states in the background, at most one at a time.

    A state is a snapshot of its own memory, taken between two steps, so training may go on while it is written.
    What a save guarantees does not change: until the new state is whole, the one before it stands. An error in
    the background is raised by the next `save` or `wait`, in the thread that trains, so none is lost.
    """

    def __init__(self, folder: SegmentFolder) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, state: TrainState) -> None:
        """Begin to write a state, once the save before it has ended."""
        self.wait()
        # The logs go on growing: the state belongs to what they are now.
        sizes = self._folder.log_sizes()
        self._thread = threading.Thread(target=self._write, args=(state, sizes), name="saver")
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a state is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the save in flight, and raise what went wrong in it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, state: TrainState, sizes: LogSizes) -> None:
        try:
            self._folder.save(state, sizes)
        except Exception as error:
            self._error = error

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Wait; what ended the training goes before what ended its last save, which it names."""
        try:
            self.wait()
        except Exception as in_save:
            if error is None:
                raise
            error.add_note(f"and the save in flight failed: {in_save}")
