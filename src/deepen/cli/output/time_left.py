"""How long a command will take, from how fast it has been so far."""

from collections import deque

WINDOW_SECONDS = 900.0
"""The speed is that of the last 15 minutes: long enough to contain evaluations and saves."""

MIN_SECONDS = 10.0
"""Shortest time of measured progress before a time is estimated."""


class TimeLeft:
    """Estimates the remaining time from the share that is done.

    Time counts from the first progress on: before it, workers start, and nothing can be known.

        at 0 s: 0.00    at 40 s: 0.01    at 60 s: 0.03      0.02 in 20 s, so the remaining 0.97 take 970 s
    """

    def __init__(self) -> None:
        self._points = deque[tuple[float, float]]()  # seconds and share, from the first progress on
        self._first: float | None = None

    def add(self, seconds: float, share: float) -> None:
        """Add the share that was done at a time."""
        if self._first is None:
            self._first = share
        if share <= self._first:
            return
        self._points.append((seconds, share))
        while seconds - self._points[0][0] > WINDOW_SECONDS:
            self._points.popleft()

    @property
    def seconds(self) -> float | None:
        """The estimated remaining time, in seconds; None if it cannot be known yet, or nothing is left."""
        if not self._points:
            return None
        (began, share_before), (now, share) = self._points[0], self._points[-1]
        if now - began < MIN_SECONDS or share <= share_before or share == 1:
            return None
        return (now - began) / (share - share_before) * (1 - share)
