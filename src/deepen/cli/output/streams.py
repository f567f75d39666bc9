"""Standard output and standard error of a command: writing to them never raises.

A reader may leave (`deepen plan full | head -1`), a terminal may close, a disk may be full, an encoding may lack a
character. None of this ends training or changes what a command does. A result that a full disk did not take is
reported when the command ends; that nobody wants to read it is not an error.
"""

import codecs
import errno
import io
import os
import sys
from typing import TextIO

_ASCII = str.maketrans("–—−×÷·…’█▉▊▋▌▍▎▏", "---x/-.'####|   ")
"""Characters of tables and bars, for encodings that lack them; one for one, so that columns stay aligned."""


class _Descriptor(io.FileIO):
    """A file descriptor to which writing never raises.

    Attributes:
        failure: why something could not be written, unless it is that its reader has left.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.failure: OSError | None = None
        self._reader_left = {errno.EPIPE, errno.EIO} if self.isatty() else {errno.EPIPE}

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        """Write bytes, or lose them."""
        try:
            written: int | None = super().write(data)
            if written is None:  # a pipe that another program made non-blocking is full
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return written
        except OSError as error:
            if error.errno not in self._reader_left:
                self.failure = error
            return len(data)


def prepare_streams() -> None:
    """Replace Python's own standard streams; those that somebody closed write nowhere."""
    _open_closed_descriptors()
    codecs.register_error("deepen", _replace_character)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _wrap(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _wrap(2, sys.stderr)


def flush_output() -> OSError | None:
    """Write what is left of standard output; returns why some of it was lost, if somebody wants to read it."""
    sys.stdout.flush()
    descriptor = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return descriptor.failure if isinstance(descriptor, _Descriptor) else None


def _open_closed_descriptors() -> None:
    """Open 0, 1 and 2 where they are closed. The next file would get that number, and stray output its content."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


def _wrap(number: int, before: TextIO | None) -> TextIO:
    encoding, by_line = ("utf-8", False) if before is None else (before.encoding, before.line_buffering)
    buffer = io.BufferedWriter(_Descriptor(number))
    return io.TextIOWrapper(buffer, encoding, "deepen", line_buffering=bool(by_line))


def _replace_character(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: a character that looks alike, or else its escape."""
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    if (plain := character.translate(_ASCII)) == character:
        plain = character.encode("ascii", "backslashreplace").decode()
    return plain, error.start + 1
